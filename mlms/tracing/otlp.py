"""Span tables as OTLP protobuf, sent over gRPC.

The SDK's exporter is not used: it retries and shuts down for many seconds against a dead collector. Here the stub that
OpenTelemetry generates is called directly, each call with a deadline.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlms.tracing import attributes as attribute_text
from mlms.tracing.collector import Collector, collector, endpoint_from_environment

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    from mlms.tracing.spans import SpanTable

__all__ = ["ExportReport", "encode", "endpoint_from_environment", "send"]

CHUNK_SPANS = 10_000
CHUNK_BYTES = 1 << 20
"""Receivers refuse messages over 4 MiB; less than that shows progress on slow links."""

BUDGET_SECONDS = 2.0

_MARGIN_BYTES = 64
"""More than a span's own tag and length take up in its request."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What became of an export: spans that the collector took, and one sentence if not all went well."""

    endpoint: str
    sent: int
    error: str | None = None


def encode(table: SpanTable, resource: Mapping[str, Any] | None = None) -> Iterator[ExportTraceServiceRequest]:
    """Requests of at most ``CHUNK_SPANS`` spans and ``CHUNK_BYTES`` bytes, in the table's order.

    A single span that is larger has a request of its own. The resource is the table's unless one is given.
    """
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

    from mlms.tracing.spans import LEVEL_ATTRIBUTE

    facts = dict(table.resource if resource is None else resource)
    encoded = Resource(attributes=_key_values(facts))
    codes = {"ok": Status.STATUS_CODE_OK, "error": Status.STATUS_CODE_ERROR}
    levels = lru_cache(lambda level: _key_values({LEVEL_ATTRIBUTE: level}))
    # Bulk spans share most of their texts; decoding each only once is most of the speed.
    decoded = lru_cache(maxsize=1024)(lambda text: _key_values(attribute_text.loads(text)))

    def start() -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        request.resource_spans.add(resource=encoded).scope_spans.add().scope.name = "mlms"
        request.resource_spans[0].scope_spans[0].scope.version = str(facts.get("service.version", ""))
        return request

    request = start()
    overhead = size = request.ByteSize() + _MARGIN_BYTES
    for trace_id, span_id, parent_id, name, level, start_ns, end_ns, status, message, text in table.frame.iter_rows():
        span = Span(
            trace_id=bytes.fromhex(trace_id),
            span_id=bytes.fromhex(span_id),
            parent_span_id=bytes.fromhex(parent_id or ""),
            name=name,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=end_ns,
            attributes=levels(level) + decoded(text),
        )
        if status != "unset":
            span.status.code = codes[status]
            span.status.message = message or ""
        length = span.ByteSize() + _MARGIN_BYTES
        spans = request.resource_spans[0].scope_spans[0].spans
        if spans and (len(spans) == CHUNK_SPANS or size + length > CHUNK_BYTES):
            yield request
            request = start()
            size, spans = overhead, request.resource_spans[0].scope_spans[0].spans
        spans.append(span)
        size += length
    if request.resource_spans[0].scope_spans[0].spans:
        yield request


def send(table: SpanTable, endpoint: str | None = None, *, budget_seconds: float = BUDGET_SECONDS) -> ExportReport:
    """Send all spans to a collector (default: the environment's) over OTLP/gRPC; never raises.

    The budget is for time without progress: connecting and the first chunk must be answered within it, and so must
    each later chunk. A dead collector thus costs at most the budget, and a slow one with much to take may have longer.
    """
    endpoint = endpoint or endpoint_from_environment()
    if endpoint is None:
        return ExportReport("", 0, "no collector is named: set OTEL_EXPORTER_OTLP_ENDPOINT or give --otlp")
    try:
        address = collector(endpoint)
    except ValueError as error:
        return ExportReport(endpoint.rpartition("@")[2], 0, f"spans were not sent: {error}")
    return _send(table, address, budget_seconds)


def _send(table: SpanTable, address: Collector, budget: float) -> ExportReport:
    started = time.monotonic()
    # Its core writes handshake failures to the terminal; they are in the report.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

    sent, refused, remark = 0, 0, ""
    try:
        # gRPC connects at the first call, within that call's deadline, and a refused connection ends it at once.
        with _channel(address) as channel:
            export = TraceServiceStub(channel).Export  # type: ignore[no-untyped-call]
            for request in encode(table):
                count = len(request.resource_spans[0].scope_spans[0].spans)
                # Starting up counts against the first chunk, but leaves it half of the budget.
                allowed = budget if sent else max(budget - (time.monotonic() - started), budget / 2)
                answer = export(request, timeout=min(allowed, address.timeout), metadata=address.headers)
                rejected = min(answer.partial_success.rejected_spans, count)
                sent += count - rejected
                refused += rejected
                remark = remark or answer.partial_success.error_message
    except grpc.RpcError as error:
        return ExportReport(address.endpoint, sent, _failure(address, error.code().name, error.details() or ""))
    except (OSError, ValueError) as error:  # an unreadable certificate; a header that gRPC refuses
        return ExportReport(
            address.endpoint, sent, f"spans were not sent to {address.endpoint}: {_first_line(str(error))}"
        )
    if refused:
        remark = f"the collector at {address.endpoint} rejected {refused} of {sent + refused} spans: {remark}"
    elif remark:
        remark = f"the collector at {address.endpoint} took all spans and remarks: {remark}"
    return ExportReport(address.endpoint, sent, remark.rstrip(": ") or None)


def _failure(address: Collector, code: str, details: str) -> str:
    if code == "DEADLINE_EXCEEDED":
        return f"the collector at {address.endpoint} did not answer in time"
    return f"the collector at {address.endpoint} did not take the spans: {code}: {_first_line(details)}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def _channel(address: Collector) -> Any:
    import grpc

    compression = grpc.Compression.Gzip if address.gzip else grpc.Compression.NoCompression
    options = [("grpc.primary_user_agent", "mlms")]
    if address.insecure:
        return grpc.insecure_channel(address.target, options=options, compression=compression)
    files = (address.certificate, address.client_key, address.client_certificate)
    credentials = grpc.ssl_channel_credentials(*(file.read_bytes() if file else None for file in files))
    return grpc.secure_channel(address.target, credentials, options=options, compression=compression)


def _key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

    return [KeyValue(key=_utf8(key), value=_any(value)) for key, value in attributes.items()]


def _any(value: Any) -> AnyValue:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue

    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return AnyValue(array_value=ArrayValue(values=[_any(item) for item in value]))
    return AnyValue(string_value=_utf8(str(value)))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
