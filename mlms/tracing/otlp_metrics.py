"""Counters as OTLP metrics, in the official library's messages; imported where they are sent.

A gauge becomes a Gauge; a sum a monotonic Sum that starts with its first sample: cumulative, or of its increases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, NumberDataPoint

from mlms.tracing.observations import Counter
from mlms.tracing.otlp_encoding import Request, key_value

_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA

CHUNK_POINTS = 2_000
"""A point is some 200 bytes, its attributes included: far below the 4 MiB that receivers refuse."""


def encode_metrics(
    counters: Sequence[Counter], resource: Mapping[str, Any], attributes: Mapping[str, Any], *, delta: bool = False
) -> Iterator[Request]:
    """ExportMetricsServiceRequests of at most ``CHUNK_POINTS`` data points, series by series.

    ``attributes`` are given to each point besides those of its series. ``delta`` makes a sum's points its increases
    since the point before; the first one is 0.
    """
    request, metrics = _request(resource)
    points = 0
    for counter in counters:
        series = _series(counter, delta)
        for first in range(0, len(counter.value), CHUNK_POINTS):
            part = [column[first : first + CHUNK_POINTS] for column in series]
            metric = _metric(counter, part, {**counter.attributes, **attributes}, delta)
            count = len(part[0])
            if points and points + count > CHUNK_POINTS:
                yield Request(request.SerializeToString(), points)
                request, metrics = _request(resource)
                points = 0
            metrics.append(metric)
            points += count
    if points:
        yield Request(request.SerializeToString(), points)


def _request(resource: Mapping[str, Any]) -> tuple[ExportMetricsServiceRequest, Any]:
    """A request without metrics, and its list of them."""
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.extend(_attributes(resource))
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name = "mlms"
    of_scope.scope.version = str(resource.get("service.version", ""))
    return request, of_scope.metrics


def _series(counter: Counter, delta: bool) -> tuple[list[int], list[int], list[float]]:
    """Of each point the time that it counts from (0 for a gauge), its own time, and its value."""
    times, values = counter.time_ns, counter.value
    if counter.kind == "gauge":
        starts = np.zeros(len(times), np.int64)
    elif delta:
        starts, values = np.concatenate([times[:1], times[:-1]]), np.diff(values, prepend=values[:1])
    else:
        starts = np.repeat(times[:1], len(times))
    return starts.tolist(), times.tolist(), values.tolist()


def _metric(counter: Counter, columns: Sequence[Sequence[Any]], attributes: Mapping[str, Any], delta: bool) -> Metric:
    pairs = _attributes(attributes)
    points = [
        NumberDataPoint(attributes=pairs, start_time_unix_nano=start, time_unix_nano=time, as_double=value)
        for start, time, value in zip(*columns, strict=True)
    ]
    metric = Metric(name=counter.name, unit=counter.unit)
    if counter.kind == "sum":
        metric.sum.aggregation_temporality = _DELTA if delta else _CUMULATIVE
        metric.sum.is_monotonic = True
        metric.sum.data_points.extend(points)
    else:
        metric.gauge.data_points.extend(points)
    return metric


def _attributes(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue.FromString(key_value(key, value)) for key, value in attributes.items()]
