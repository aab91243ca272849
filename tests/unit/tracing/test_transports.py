import ssl
import time
from email.utils import formatdate
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from fakes.certificates import self_signed
from fakes.otlp_http_receiver import HttpReceiver, http_receiver
from fakes.otlp_receiver import Receiver, receiver
from fakes.span_tables import nested
from mlms.tracing import attributes as attribute_text
from mlms.tracing.otlp import send
from mlms.tracing.spans import SpanTable

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "HEADERS", "INSECURE", "PROTOCOL", "TIMEOUT", "COMPRESSION", "CERTIFICATE"):
        monkeypatch.delenv(PREFIX + name, raising=False)
        monkeypatch.delenv(f"{PREFIX}TRACES_{name}", raising=False)


@pytest.fixture(scope="module")
def spans() -> SpanTable:
    return nested(predictions=500, layers=25)


def assert_one_for_one(fake: HttpReceiver, spans: SpanTable) -> None:
    assert Receiver(requests=fake.requests).spans() == [
        row | {"attributes": {"mlms.level": row.pop("level"), **attribute_text.loads(row["attributes"])}}
        for row in spans.frame.rows(named=True)
    ]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_http_takes_the_table_one_for_one(compression: str, spans: SpanTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "COMPRESSION", compression)
    monkeypatch.setenv(PREFIX + "HEADERS", "authorization=Bearer%20x")
    with http_receiver() as fake:
        report = send(spans, fake.endpoint)
    assert (report.endpoint, report.sent, report.error) == (fake.endpoint, len(spans), None)
    assert_one_for_one(fake, spans)
    assert len(fake.requests) > 1
    assert set(fake.paths) == {"/v1/traces"}
    assert fake.headers[0]["authorization"] == "Bearer x"
    assert fake.headers[0]["Content-Type"] == "application/x-protobuf"


def test_http_reports_partial_success(spans: SpanTable) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    with http_receiver(answer=ExportTraceServiceResponse(partial_success=partial).SerializeToString()) as fake:
        report = send(spans, fake.endpoint)
    rejected = 2 * len(fake.requests)
    assert report.sent == len(spans) - rejected
    assert f"rejected {rejected} of {len(spans)} spans: too old" in (report.error or "")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_http_tries_again_what_may_pass(status: int, spans: SpanTable) -> None:
    with http_receiver(failures=[(status, {}), (status, {"Retry-After": "0"})]) as fake:
        assert send(spans, fake.endpoint).error is None
    assert_one_for_one(fake, spans)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_http_does_not_try_again_what_will_not_pass(status: int, spans: SpanTable) -> None:
    with http_receiver(failures=[(status, {})]) as fake:
        report = send(spans, fake.endpoint)
    assert len(fake.paths) == 1
    assert f"HTTP {status}: not now" in (report.error or "")


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_http_comes_back_when_told(form: str, spans: SpanTable) -> None:
    header = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)  # a date has whole seconds
    started = time.monotonic()
    with http_receiver(failures=[(503, {"Retry-After": header})]) as fake:
        assert send(spans, fake.endpoint, budget_seconds=10).error is None
        assert time.monotonic() - started >= 0.9
        fake.failures = [(503, {"Retry-After": "3600"})]
        started = time.monotonic()
        assert "HTTP 503" in (send(spans, fake.endpoint).error or "")
        assert time.monotonic() - started < 1


def test_http_that_stalls_costs_the_budget(spans: SpanTable) -> None:
    with http_receiver(stall=True) as fake:
        started = time.monotonic()
        report = send(spans, fake.endpoint)
        assert time.monotonic() - started < 2.5
    assert "did not answer in time" in (report.error or "")


def test_http_that_is_no_collector(spans: SpanTable) -> None:
    with http_receiver(answer=b"<html>welcome</html>") as fake:
        assert "is this a collector's address?" in (send(spans, fake.endpoint).error or "")


def test_http_does_not_follow_a_redirect(spans: SpanTable) -> None:
    with http_receiver(failures=[(302, {"Location": "http://127.0.0.1:9/elsewhere"})]) as fake:
        assert "HTTP 302" in (send(spans, fake.endpoint).error or "")


def test_grpc_spoken_to_http_and_http_to_grpc(spans: SpanTable, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as fake:
        monkeypatch.setenv(PREFIX + "PROTOCOL", "grpc")
        assert "did not" in (send(spans, fake.endpoint).error or "")
    with receiver() as grpc_fake:
        monkeypatch.setenv(PREFIX + "PROTOCOL", "http/protobuf")
        assert "did not take the spans" in (send(spans, grpc_fake.endpoint).error or "")
        assert grpc_fake.requests == []


def test_http_with_and_without_tls(spans: SpanTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, made = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    with http_receiver(context) as fake:
        assert "certificate" in (send(spans, fake.endpoint).error or "").lower()
        assert "did not take" in (send(spans, fake.endpoint.replace("https:", "http:")).error or "")
        monkeypatch.setenv(PREFIX + "CERTIFICATE", str(made))
        assert send(spans, fake.endpoint).error is None
        assert_one_for_one(fake, spans)
    with http_receiver() as plain:
        report = send(spans, plain.endpoint.replace("http:", "https:"))
        assert report.sent == 0
        assert "SSL" in (report.error or "")
