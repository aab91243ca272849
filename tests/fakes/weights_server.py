"""A real HTTP server on loopback that serves bytes, knows Range and If-Range, and fails when told to."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass(frozen=True)
class Fault:
    """What the server does to one request: answer ``status``, or hang up after ``cut`` bytes of the body.

    ``headers`` take the place of those that it would send, and ``reason`` that of the status's phrase.
    """

    status: int | None = None
    cut: int | None = None
    location: str | None = None
    reason: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WeightsServer:
    """Serves ``files`` (by path, with the leading slash); ``faults`` are used up, one a request.

    ``ranges`` off: Range is ignored. ``etags`` off: no validator is sent. ``requests`` lists path and Range (None when
    the whole file was asked for) of each request, in order. With ``tls`` it speaks https.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    ranges: bool = True
    etags: bool = True
    tls: ssl.SSLContext | None = None
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def __enter__(self) -> WeightsServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if self.tls:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def put(self, path: str, content: bytes) -> tuple[str, str]:
        """Serve ``content`` at ``path``; gives its URL and SHA-256."""
        self.files[path] = content
        return self.base + path, hashlib.sha256(content).hexdigest()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Keep the tests' output clean."""

            def do_GET(self) -> None:
                asked = self.headers["Range"]
                served.requests.append((self.path, asked))
                fault = served.faults.popleft() if served.faults else Fault()
                content = served.files.get(self.path.partition("?")[0])
                if fault.status or content is None:
                    self.send_response(fault.status or 404, fault.reason)
                    if fault.location:
                        self.send_header("Location", fault.location)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and served.ranges else 0
                if self.headers["If-Range"] not in (None, etag):
                    start = 0
                if start and start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                if served.etags:
                    self.send_header("ETag", etag)
                for name, value in ({"Content-Length": str(len(content) - start)} | dict(fault.headers)).items():
                    self.send_header(name, value)
                self.end_headers()
                body = content[start:]
                self.wfile.write(body if fault.cut is None else body[: fault.cut])
                self.close_connection = fault.cut is not None or "Content-Length" in fault.headers

        return Handler
