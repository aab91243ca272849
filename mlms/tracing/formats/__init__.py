"""Trace formats: each module writes spans to a binary file, in memory that hardly grows with their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from mlms.tracing.observations import Counter
    from mlms.tracing.spans import Spans


@dataclass(frozen=True, slots=True)
class Format:
    """``module`` is one of this package, with ``write(spans, file)``; ``text`` says that a terminal can show it.

    One that has ``counters`` too is written by ``write(spans, counters, file)``.
    """

    module: str
    summary: str
    text: bool
    counters: bool = False


FORMATS = {
    "otlp-json": Format("otlp_json", "OpenTelemetry's JSON, a TracesData a line, as its file exporter writes.", True),
    "otlp-proto": Format("otlp_proto", "OpenTelemetry's protobuf: one TracesData message.", False),
    "chrome": Format("chrome", "Chrome's JSON, which Perfetto, Speedscope and chrome://tracing read.", True, True),
    "perfetto": Format("perfetto", "Perfetto's own protobuf: smaller, and with nanoseconds.", False, True),
    "csv": Format("csv", "The span table as comma-separated values.", True),
    "folded": Format("folded", "Stacks with their own time in nanoseconds, for flame graphs.", True),
}


def write(spans: Spans, name: str, file: IO[bytes], counters: Sequence[Counter] = ()) -> None:
    """Write spans in the format of that name, a key of ``FORMATS``, and counters where the format has a place for them.

    Raises:
        StorageError: the spans are damaged.
        OSError: the file can't be written.
    """
    module = import_module(f"mlms.tracing.formats.{FORMATS[name].module}")
    if FORMATS[name].counters:
        module.write(spans, counters, file)
    else:
        module.write(spans, file)
