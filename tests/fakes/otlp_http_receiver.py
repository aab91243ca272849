"""A collector that speaks OTLP over HTTP, on loopback."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass
class HttpReceiver:
    """``failures``: what the first attempts get instead, a status and headers. ``answer``: the body of a success."""

    endpoint: str = ""
    failures: list[tuple[int, Mapping[str, str]]] = field(default_factory=list)
    answer: bytes = b""
    stall: bool = False
    takes_metrics: bool = True
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def http_receiver(context: ssl.SSLContext | None = None, **switches: Any) -> Iterator[HttpReceiver]:
    fake = HttpReceiver(**switches)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fake.paths.append(self.path)
            fake.headers.append(dict(self.headers))
            if fake.stall:
                fake.closing.wait(30)
                self.close_connection = True
                return
            if fake.failures:
                status, headers = fake.failures.pop(0)
                return self._say(status, headers, Status(message="not now").SerializeToString())
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if "metrics" in self.path:
                if not fake.takes_metrics:
                    return self._say(404, {}, b"404 page not found")
                fake.metrics.append(ExportMetricsServiceRequest.FromString(body))
                return self._say(200, {}, fake.answer)
            fake.requests.append(ExportTraceServiceRequest.FromString(body))
            self._say(200, {}, fake.answer or ExportTraceServiceResponse().SerializeToString())

        def _say(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that hangs up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.endpoint = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}/v1/traces"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield fake
    finally:
        fake.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
