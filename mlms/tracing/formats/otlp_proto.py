"""OTLP protobuf. Messages of one type that follow each other are one message, so requests are written one by one."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from mlms.tracing.otlp_encoding import encode

if TYPE_CHECKING:
    from mlms.tracing.spans import Spans


def write(spans: Spans, file: IO[bytes]) -> None:
    """Write a TracesData message."""
    for request in encode(spans.parts(), spans.resource):
        file.write(request.data)
