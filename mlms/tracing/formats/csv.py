"""The span table as CSV (RFC 4180, UTF-8), columns as in ``mlms.tracing.spans``; attributes are JSON text."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from mlms.tracing.spans import Spans


def write(spans: Spans, file: IO[bytes]) -> None:
    """Write a header and a line a span."""
    from mlms.tracing.spans import SCHEMA

    file.write((",".join(SCHEMA) + "\n").encode())
    for part in spans.parts():
        file.write(part.write_csv(include_header=False).encode())
