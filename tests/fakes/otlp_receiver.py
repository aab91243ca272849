"""A collector: a real gRPC server on loopback that keeps what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass
class Receiver(TraceServiceServicer):
    """``refuse_after``, ``stall_after``: requests answered well before all others are refused, or never answered.

    ``failures``: what the first attempts get instead, a status and the seconds of a RetryInfo. ``reject``: spans
    of each request that are reported as not taken. ``remark``: the text of the partial success. ``takes_metrics``: it
    has a service for them; they are in ``metrics``.
    """

    port: int = 0
    refuse_after: int | None = None
    stall_after: int | None = None
    reject: int = 0
    remark: str = ""
    takes_metrics: bool = True
    failures: list[tuple[grpc.StatusCode, float | None]] = field(default_factory=list)
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
        if self.failures:
            code, seconds = self.failures.pop(0)
            if seconds is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", retry_info(seconds)),))
            context.abort(code, "not now")
        served = len(self.requests)
        if self.refuse_after is not None and served >= self.refuse_after:
            context.abort(grpc.StatusCode.UNAVAILABLE, "out for lunch")
        if self.stall_after is not None and served >= self.stall_after:
            self.closing.wait(30)
            context.abort(grpc.StatusCode.CANCELLED, "closing")
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=self.reject, error_message=self.remark)
        )

    def spans(self) -> list[dict[str, Any]]:
        """What arrived, one dict a span, attributes as plain values."""
        return [
            {
                "trace_id": span.trace_id.hex(),
                "span_id": span.span_id.hex(),
                "parent_id": span.parent_span_id.hex() or None,
                "name": span.name,
                "start_ns": span.start_time_unix_nano,
                "end_ns": span.end_time_unix_nano,
                "status": ("unset", "ok", "error")[span.status.code],
                "status_message": span.status.message or None,
                "attributes": {pair.key: plain(pair.value) for pair in span.attributes},
            }
            for request in self.requests
            for resource_spans in request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]


@dataclass
class Metrics(MetricsServiceServicer):
    """The receiver's other service."""

    receiver: Receiver

    def Export(self, request: ExportMetricsServiceRequest, context: Any) -> ExportMetricsServiceResponse:
        if self.receiver.failures:
            context.abort(self.receiver.failures.pop(0)[0], "not now")
        self.receiver.metrics.append(request)
        self.receiver.metadata.append(dict(context.invocation_metadata()))
        partial = ExportMetricsPartialSuccess(
            rejected_data_points=self.receiver.reject, error_message=self.receiver.remark
        )
        return ExportMetricsServiceResponse(partial_success=partial)


def points(requests: Sequence[ExportMetricsServiceRequest]) -> list[dict[str, Any]]:
    """What arrived, one dict a data point, attributes as plain values."""
    return [
        {
            "name": metric.name,
            "unit": metric.unit,
            "kind": metric.WhichOneof("data"),
            "start_ns": point.start_time_unix_nano,
            "time_ns": point.time_unix_nano,
            "value": point.as_double,
            "attributes": {pair.key: plain(pair.value) for pair in point.attributes},
        }
        for request in requests
        for resource_metrics in request.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


def retry_info(seconds: float) -> bytes:
    """A google.rpc.Status that says when to come back."""
    info = RetryInfo()
    info.retry_delay.seconds, info.retry_delay.nanos = int(seconds), int(seconds % 1 * 1e9)
    status = Status()
    status.details.add().Pack(info)
    return status.SerializeToString()


def plain(value: AnyValue) -> Any:
    """An OTLP value as a Python one."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def receiver(credentials: grpc.ServerCredentials | None = None, **switches: Any) -> Iterator[Receiver]:
    """A receiver that listens on a free port of loopback for as long as the context is open."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    fake = Receiver(**switches)
    add_TraceServiceServicer_to_server(fake, server)
    if fake.takes_metrics:
        add_MetricsServiceServicer_to_server(Metrics(fake), server)
    fake.port = (
        server.add_secure_port("127.0.0.1:0", credentials) if credentials else server.add_insecure_port("127.0.0.1:0")
    )
    server.start()
    try:
        yield fake
    finally:
        fake.closing.set()
        server.stop(grace=None).wait()
