"""Counters as OTLP metrics, in the official library's messages; imported where they are sent.

A gauge becomes a Gauge; a sum a monotonic, cumulative Sum that starts with its first sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric, NumberDataPoint

from mlms.tracing.observations import Counter
from mlms.tracing.otlp_encoding import Request, key_value

CHUNK_POINTS = 2_000
"""A point is some 200 bytes, its attributes included: far below the 4 MiB that receivers refuse."""


def encode_metrics(
    counters: Sequence[Counter], resource: Mapping[str, Any], attributes: Mapping[str, Any]
) -> Iterator[Request]:
    """ExportMetricsServiceRequests of at most ``CHUNK_POINTS`` data points, series by series.

    ``attributes`` are given to each point besides those of its series.
    """
    request, metrics = _request(resource)
    points = 0
    for counter in counters:
        for first in range(0, len(counter.value), CHUNK_POINTS):
            part = slice(first, first + CHUNK_POINTS)
            metric = _metric(counter, part, {**counter.attributes, **attributes})
            count = len(counter.value[part])
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


def _metric(counter: Counter, part: slice, attributes: Mapping[str, Any]) -> Metric:
    pairs = _attributes(attributes)
    # The time that a sum counts from; a gauge has none.
    start = int(counter.time_ns[0]) if counter.kind == "sum" else 0
    points = [
        NumberDataPoint(attributes=pairs, start_time_unix_nano=start, time_unix_nano=time, as_double=value)
        for time, value in zip(counter.time_ns[part].tolist(), counter.value[part].tolist(), strict=True)
    ]
    metric = Metric(name=counter.name, unit=counter.unit)
    if counter.kind == "sum":
        metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        metric.sum.is_monotonic = True
        metric.sum.data_points.extend(points)
    else:
        metric.gauge.data_points.extend(points)
    return metric


def _attributes(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue.FromString(key_value(key, value)) for key, value in attributes.items()]
