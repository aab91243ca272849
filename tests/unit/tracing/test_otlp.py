import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import grpc
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fakes.certificates import self_signed
from fakes.otlp_receiver import Receiver, receiver
from fakes.span_tables import nested
from mlms.tracing import attributes as attribute_text
from mlms.tracing.otlp import ExportReport, send
from mlms.tracing.otlp_encoding import CHUNK_BYTES, CHUNK_SPANS, encode
from mlms.tracing.session import Tracing
from mlms.tracing.spans import SCHEMA, SpanTable, StoredSpans, predictions

LIMIT = 2.5
"""Seconds: the budget of 2, and what a loaded machine may add to it."""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "HEADERS", "INSECURE", "PROTOCOL", "TIMEOUT", "COMPRESSION", "CERTIFICATE"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_TRACES_{name}", raising=False)


def trace(count: int) -> SpanTable:
    """``count`` predictions in an evaluation with a failing step."""
    tracing = Tracing("model")
    with tracing.span("evaluation", devices=["cpu"], ratio=1.0) as root:
        with pytest.raises(OSError, match="disk"), tracing.span("load"):
            raise OSError("disk on fire")
        start = np.arange(count, dtype=np.int64) + time.time_ns()
        queries = {"mlms.query": np.arange(count), "score": np.linspace(0, 1, count), "mlms.batch_size": 2}
        tracing.add(predictions(root.trace_id or "", root.span_id, "predict", start, start + 5, queries))
    return tracing.finish()


def as_sent(table: SpanTable) -> list[dict[str, Any]]:
    """The table's rows as a receiver should see them: the level among the attributes."""
    rows = []
    for row in table.frame.rows(named=True):
        level = {"mlms.level": row.pop("level")}
        rows.append(row | {"attributes": level | attribute_text.loads(row["attributes"])})
    return rows


def assert_one_for_one(fake: Receiver, table: SpanTable) -> None:
    assert fake.spans() == as_sent(table)


def test_what_arrives_is_the_table_one_for_one(tmp_path: Path) -> None:
    table = trace(25_000)
    table.write(tmp_path / "spans.parquet")
    with receiver() as fake:
        report = send(SpanTable.read(tmp_path / "spans.parquet"), fake.endpoint)
    assert (report.endpoint, report.sent, report.error) == (fake.endpoint, 25_002, None)
    assert_one_for_one(fake, table)
    assert len(fake.requests) > 1
    for request in fake.requests:
        assert request.ByteSize() <= CHUNK_BYTES
        resource = {pair.key: pair.value for pair in request.resource_spans[0].resource.attributes}
        assert resource["service.name"].string_value == "mlms"
        assert resource["process.pid"].int_value == table.resource["process.pid"]


def requests(table: SpanTable) -> list[ExportTraceServiceRequest]:
    """What is sent, read by the official library."""
    return [ExportTraceServiceRequest.FromString(made.data) for made in encode(table.parts(), table.resource)]


def test_the_bytes_are_the_official_library_s() -> None:
    for made in encode(nested(50, 25).parts(), {"service.name": "mlms", "service.version": "1", "a": [1, 2.5, "x"]}):
        assert ExportTraceServiceRequest.FromString(made.data).SerializeToString(deterministic=True) == made.data


def test_a_request_holds_no_more_than_its_bounds() -> None:
    small = [len(r.resource_spans[0].scope_spans[0].spans) for r in requests(bare(CHUNK_SPANS + 1))]
    assert sum(small) == CHUNK_SPANS + 1
    assert max(small) <= CHUNK_SPANS
    huge = bare(3).frame.with_columns(name=pl.lit("n" * (CHUNK_BYTES + 1)))
    assert [len(r.resource_spans[0].scope_spans[0].spans) for r in requests(SpanTable(huge))] == [1, 1, 1]


def bare(count: int, **attributes: Any) -> SpanTable:
    start = np.arange(count, dtype=np.int64)
    return predictions("0af7651916cd43dd8448eb211c80319c", None, "p", start, start, attributes)


def test_an_empty_table_sends_nothing() -> None:
    assert requests(SpanTable(pl.DataFrame(schema=SCHEMA))) == []


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT


@given(st.dictionaries(TEXT, SCALARS | st.lists(SCALARS)))
def test_attributes_keep_value_and_type(attributes: dict[str, Any]) -> None:
    table = SpanTable(bare(1).frame.with_columns(attributes=pl.lit(attribute_text.dumps(attributes))))
    fake = Receiver(requests=requests(table))
    (span,) = fake.spans()
    assert repr(span["attributes"]) == repr({"mlms.level": "model", **attributes})


def test_values_that_protobuf_can_t_hold_become_text() -> None:
    odd = {"big": 2**70, "text": "a\ud800", "nan": math.nan}
    table = SpanTable(bare(1).frame.with_columns(attributes=pl.lit(attribute_text.dumps(odd))))
    (span,) = Receiver(requests=requests(table)).spans()
    assert span["attributes"]["big"] == str(2**70)
    assert span["attributes"]["text"] == "a?"
    assert math.isnan(span["attributes"]["nan"])


def test_headers_compression_and_the_environment_s_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with receiver() as fake:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", fake.endpoint)
        assert send(trace(1)).sent == 3
    assert fake.metadata[0]["authorization"] == "Bearer x"


def test_partial_success_is_reported() -> None:
    with receiver(reject=2, remark="too old") as fake:
        report = send(trace(10), fake.endpoint)
    assert report.sent == 10
    assert report.error == f"the collector at {fake.endpoint} rejected 2 of 12 spans: too old"


def test_a_remark_on_full_success_is_reported() -> None:
    with receiver(remark="please use gzip") as fake:
        report = send(trace(10), fake.endpoint)
    assert report.sent == 12
    assert (report.error or "").endswith("took all spans and remarks: please use gzip")


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


def dead_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


def assert_fails_in_time(table: SpanTable, endpoint: str, *words: str, sent: int = 0) -> None:
    started = time.monotonic()
    report = send(table, endpoint)
    assert time.monotonic() - started < LIMIT
    assert report.sent == sent
    assert report.error is not None
    assert "\n" not in report.error
    for word in (report.endpoint, *words):
        assert word in report.error


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_dead_port(scheme: str) -> None:
    assert_fails_in_time(trace(10), f"{scheme}://127.0.0.1:{dead_port()}", "UNAVAILABLE", "refused")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_black_hole(scheme: str) -> None:
    with black_hole() as port:
        assert_fails_in_time(trace(10), f"{scheme}://127.0.0.1:{port}", "did not answer in time")


def test_a_collector_that_stalls() -> None:
    with receiver(stall_after=0) as fake:
        assert_fails_in_time(trace(10), fake.endpoint, "did not answer in time")


def test_a_collector_that_refuses() -> None:
    with receiver(refuse_after=0) as fake:
        assert_fails_in_time(trace(10), fake.endpoint, "UNAVAILABLE", "out for lunch")


def test_a_collector_that_stalls_half_way() -> None:
    with receiver(stall_after=1) as fake:
        table = trace(12_000)
        first = next(encode(table.parts(), table.resource)).items
        assert 0 < first < len(table)
        assert_fails_in_time(table, fake.endpoint, "did not answer in time", sent=first)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED"])
def test_what_may_pass_is_tried_again(code: str) -> None:
    table = trace(100)
    with receiver(failures=[(grpc.StatusCode[code], None)] * 2) as fake:
        report = send(table, fake.endpoint)
    assert (report.sent, report.error) == (102, None)
    assert_one_for_one(fake, table)


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"])
def test_what_will_not_pass_is_not_tried_again(code: str) -> None:
    with receiver(failures=[(grpc.StatusCode[code], None)]) as fake:
        report = send(trace(100), fake.endpoint)
        assert fake.requests == []
    assert f"{code}: not now" in (report.error or "")


def test_the_collector_says_when_to_come_back() -> None:
    started = time.monotonic()
    with receiver(failures=[(grpc.StatusCode.RESOURCE_EXHAUSTED, 0.7)]) as fake:
        assert send(trace(1), fake.endpoint).error is None
        assert time.monotonic() - started >= 0.7
        fake.failures = [(grpc.StatusCode.UNAVAILABLE, 60.0)]
        started = time.monotonic()
        assert "UNAVAILABLE" in (send(trace(1), fake.endpoint).error or "")
        assert time.monotonic() - started < 1  # no use in waiting for what is past the budget


def test_a_larger_budget_outlasts_a_restart() -> None:
    with receiver(failures=[(grpc.StatusCode.UNAVAILABLE, 2.2)]) as fake:
        report = send(trace(1), fake.endpoint, budget_seconds=10)
    assert (report.sent, report.error) == (3, None)


@pytest.mark.parametrize("seconds", [1e15, -1e15, 9e18])
def test_a_collector_that_says_to_come_back_in_no_sensible_time(seconds: float) -> None:
    with receiver(failures=[(grpc.StatusCode.UNAVAILABLE, seconds)] * 1000) as fake:
        report = send(trace(1), fake.endpoint, budget_seconds=0.5)
    assert report.sent == 0
    assert "did not take the spans: UNAVAILABLE" in (report.error or "")


def test_a_bug_in_sending_is_reported_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        resource: ClassVar[dict[str, Any]] = {}

        def __len__(self) -> int:
            return 1

        def parts(self) -> Iterator[SpanTable]:
            raise LookupError("as it happens")

    with receiver() as fake:
        report = send(Broken(), fake.endpoint)  # type: ignore[arg-type]
    assert report == ExportReport(fake.endpoint, 0, "spans were not sent: LookupError: as it happens")
    assert "Traceback" in caplog.text


@contextmanager
def resetting() -> Iterator[int]:
    """A port that reads a little and then resets the connection."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:  # closed: the test is over
                    return
                connection.recv(100)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_connection_that_is_reset(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    with resetting() as port:
        assert_fails_in_time(trace(10), f"http://127.0.0.1:{port}", "did not take the spans")


def test_damaged_spans_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "spans.parquet"
    trace(10).write(path)
    spans = StoredSpans(path)
    path.write_bytes(path.read_bytes()[:-50])
    with receiver() as fake:
        report = send(spans, fake.endpoint)
    assert report.sent == 0
    assert "cut off or damaged" in (report.error or "")


@pytest.mark.slow
def test_200_000_spans_arrive_one_for_one(tmp_path: Path) -> None:
    path = tmp_path / "spans.parquet"
    nested(8_000, 24).write(path)
    spans = StoredSpans(path)
    told: list[int] = []
    with receiver() as fake:
        report = send(spans, fake.endpoint, budget_seconds=30, advance=told.append)
    assert (report.sent, report.error) == (200_001, None)
    assert sum(told) == 200_001
    assert_one_for_one(fake, SpanTable.read(path))


def test_a_name_that_resolves_to_nothing() -> None:
    assert_fails_in_time(trace(1), "http://collector.invalid:4317")


def test_tls_spoken_to_a_plain_collector() -> None:
    with receiver() as fake:
        assert_fails_in_time(trace(1), fake.endpoint.replace("http:", "https:"), "UNAVAILABLE")


@pytest.mark.parametrize("endpoint", ["http://", "http://[::1", "http://host:70000"])
def test_an_endpoint_that_makes_no_sense(endpoint: str) -> None:
    report = send(bare(1), endpoint)
    assert report.sent == 0
    assert (report.error or "").startswith("spans were not sent: ")


def test_no_endpoint_at_all() -> None:
    assert "no collector is named" in (send(bare(1)).error or "")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HEADERS", "x-bad=a%0Ab", "Invalid metadata"),
        ("PROTOCOL", "http/json", "expected grpc or http/protobuf"),
        ("CERTIFICATE", "/nowhere/ca.pem", "No such file"),
    ],
)
def test_settings_that_make_no_sense(variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", value)
    report = send(bare(1), "https://127.0.0.1:4317")
    assert report.sent == 0
    assert message in (report.error or "")


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, made = self_signed(tmp_path)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), made.read_bytes())])
    table = trace(100)
    with receiver(credentials) as fake:
        secure = fake.endpoint.replace("http:", "https:")
        assert_fails_in_time(table, secure, "UNAVAILABLE")  # not a certificate that the system trusts
        assert_fails_in_time(table, fake.endpoint)  # not without TLS
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(made))
        assert send(table, secure).error is None
        assert_one_for_one(fake, table)
