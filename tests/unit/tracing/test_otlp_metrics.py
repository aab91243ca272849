from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np
import pytest
from grpc import StatusCode
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from fakes.counters import START_NS, counter
from fakes.otlp_http_receiver import http_receiver
from fakes.otlp_receiver import plain, points, receiver
from mlms.tracing.counters import CounterTable
from mlms.tracing.otlp import send_counters
from mlms.tracing.otlp_metrics import CHUNK_POINTS, encode_metrics

RUN = {"mlms.run_id": "20261123-211500-digits"}
COUNTERS = [
    counter("process.memory.usage", [5.0, 6.0], unit="By"),
    counter("process.paging.faults", [0.0, 1.0], kind="sum", unit="{fault}", **{"system.paging.fault.type": "minor"}),
    counter("process.paging.faults", [0.0, 9.0], kind="sum", unit="{fault}", **{"system.paging.fault.type": "major"}),
]
TABLE = CounterTable.of(COUNTERS, {"service.name": "mlms", "service.version": "1.2", "process.pid": 42})


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "PROTOCOL", "HEADERS", "COMPRESSION", "TIMEOUT"):
        for signal in ("", "TRACES_", "METRICS_"):
            monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{signal}{name}", raising=False)


def expected(table: CounterTable = TABLE) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "unit": one.unit,
            "kind": one.kind,
            "start_ns": START_NS if one.kind == "sum" else 0,
            "time_ns": instant,
            "value": value,
            "attributes": {**one.attributes, **RUN},
        }
        for one in table.series()
        for instant, value in zip(one.time_ns.tolist(), one.value.tolist(), strict=True)
    ]


def test_what_arrives_over_grpc_is_the_table_one_for_one() -> None:
    with receiver() as fake:
        report = send_counters(TABLE, fake.endpoint, attributes=RUN)
    assert (report.sent, report.error) == (6, None)
    assert points(fake.metrics) == expected()
    (request,) = fake.metrics
    (resource_metrics,) = request.resource_metrics
    assert {pair.key: plain(pair.value) for pair in resource_metrics.resource.attributes} == TABLE.resource
    (scope_metrics,) = resource_metrics.scope_metrics
    assert (scope_metrics.scope.name, scope_metrics.scope.version) == ("mlms", "1.2")
    sums = [metric.sum for metric in scope_metrics.metrics if metric.WhichOneof("data") == "sum"]
    assert len(sums) == 2
    for one in sums:
        assert one.is_monotonic
        assert one.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


@pytest.mark.parametrize("ending", ["", "/", "/v1/traces", "/v1/metrics"])
def test_http_posts_to_the_metrics_path(ending: str) -> None:
    with http_receiver() as fake:
        endpoint = fake.endpoint.removesuffix("/v1/traces") + ending
        # Without a path that only HTTP has, and on this port, the protocol has to be said.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            report = send_counters(TABLE, endpoint, attributes=RUN)
    assert (report.sent, report.error) == (6, None)
    assert fake.paths == ["/v1/metrics"]
    assert points(fake.metrics) == expected()


def test_the_metrics_own_variables_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as fake:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=theirs")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=spans")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", fake.endpoint.replace("/v1/traces", "/my/metrics"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=ours")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")
        report = send_counters(TABLE, attributes=RUN)
        endpoint = fake.endpoint
    assert report.endpoint == endpoint.replace("/v1/traces", "/my/metrics")
    assert fake.paths == ["/my/metrics"], "the path of the signal's own variable is taken as it is"
    assert fake.headers[0]["authorization"] == "ours"
    assert fake.headers[0]["Content-Encoding"] == "gzip"


def test_a_collector_of_spans_alone_is_said_to_be_one() -> None:
    with receiver(takes_metrics=False) as fake:
        report = send_counters(TABLE, fake.endpoint, attributes=RUN)
    assert report.error == f"the collector at {fake.endpoint} takes no metrics"
    assert (report.sent, report.unsupported) == (0, True)
    with http_receiver(takes_metrics=False) as web:
        start = time.monotonic()
        report = send_counters(TABLE, web.endpoint, attributes=RUN)
    assert report.error == f"the collector at {web.endpoint.replace('traces', 'metrics')} takes no metrics"
    assert time.monotonic() - start < 1, "there is nothing to try again"
    assert len(web.paths) == 1


def test_points_that_are_not_taken_are_reported() -> None:
    with receiver(reject=2, remark="too old") as fake:
        report = send_counters(TABLE, fake.endpoint, attributes=RUN)
    assert report.sent == 4
    assert report.error == f"the collector at {fake.endpoint} rejected 2 of 6 samples of counters: too old"


def test_what_may_pass_is_tried_again() -> None:
    with receiver(failures=[(StatusCode.UNAVAILABLE, None)]) as fake:
        report = send_counters(TABLE, fake.endpoint, attributes=RUN)
    assert (report.sent, report.error) == (6, None)
    assert points(fake.metrics) == expected()


def test_a_dead_port_costs_no_more_than_the_budget() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        start = time.monotonic()
        report = send_counters(TABLE, endpoint, attributes=RUN, budget_seconds=0.5)
    assert time.monotonic() - start < 3, "the budget, and what the exporter's import takes"
    assert report.sent == 0
    assert report.error is not None
    assert "did not take the samples of counters" in report.error


def test_long_series_are_cut() -> None:
    long = counter("a", np.arange(2 * CHUNK_POINTS + 5).tolist(), kind="sum", unit="J")
    several = [long, *(counter(f"b{number}", [1.0] * 300) for number in range(10))]
    requests = list(encode_metrics(several, {}, {"mlms.run_id": "x" * 40}))
    assert sum(request.items for request in requests) == 2 * CHUNK_POINTS + 5 + 3000
    assert all(0 < request.items <= CHUNK_POINTS for request in requests)
    assert all(len(request.data) < 1 << 20 for request in requests)
    table = CounterTable.of(several)
    with receiver() as fake:
        assert send_counters(table, fake.endpoint, attributes=RUN).sent == len(table)
    assert points(fake.metrics) == expected(table)


def test_nothing_to_send() -> None:
    assert list(encode_metrics([], {}, {})) == []
