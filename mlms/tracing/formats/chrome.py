"""Chrome's Trace Event Format: complete events on lanes, so that viewers, which nest by time, nest as the spans do.

Counters are counter events, a track a series. Times are microseconds since the trace's first span, with three
decimals: Unix time in microseconds is more than a double holds to the nanosecond. ``otherData.start_unix_ns`` has that
span's time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import IO, TYPE_CHECKING

from mlms.tracing import attributes as attribute_text
from mlms.tracing.lanes import lanes
from mlms.tracing.observations import titles
from mlms.tracing.structure import structure

if TYPE_CHECKING:
    from mlms.tracing.observations import Counter
    from mlms.tracing.spans import Spans


def write(spans: Spans, counters: Sequence[Counter], file: IO[bytes]) -> None:
    """Write a JSON object with an event a line."""
    tree = structure(spans)
    layout = lanes(tree)
    starts = [int(times.min()) for times in (tree.start, *(one.time_ns for one in counters)) if len(times)]
    zero = min(starts, default=0)
    process = spans.resource.get("process.pid", 1)
    about = json.dumps({"start_unix_ns": str(zero), **spans.resource})
    file.write(f'{{"displayTimeUnit":"ns","otherData":{about},"traceEvents":[\n'.encode())
    service = str(spans.resource.get("service.name", "mlms"))
    file.write(_metadata("process_name", process, 0, {"name": service}))
    for lane, name in enumerate(layout.names, 1):
        file.write(b",\n" + _metadata("thread_name", process, lane, {"name": name}))
        file.write(b",\n" + _metadata("thread_sort_index", process, lane, {"sort_index": lane}))
    quoted = lru_cache(maxsize=4096)(json.dumps)
    at = 0
    for part in spans.parts("name", "level", "start_ns", "end_ns", "span_id", "status", "attributes"):
        lines = []
        attribute_text.loads_all(part["attributes"].fill_null("{}").unique().to_list())  # they go in as they stand
        placed = layout.lane[at : at + part.height].tolist()
        at += part.height
        for (name, level, start, end, span_id, status, text), lane in zip(part.iter_rows(), placed, strict=True):
            own = text[1:-1] if text else ""
            facts = f'"span_id":"{span_id}"' + ("" if status == "unset" else f',"status":{json.dumps(status)}')
            lines.append(
                f',\n{{"ph":"X","name":{quoted(name or "")},"cat":{quoted(level)},"ts":{_micros(start - zero)},'
                f'"dur":{_micros(end - start)},"pid":{process},"tid":{lane + 1},'
                f'"args":{{{facts}{"," if own else ""}{own}}}}}'
            )
        file.write("".join(lines).encode())
    for line in _counter_events(counters, zero, process):
        file.write(line)
    file.write(b"\n]}\n")


def _counter_events(counters: Sequence[Counter], zero: int, process: object) -> Iterator[bytes]:
    """The events of a series at a time, in whose name is the unit, since the format has no place for it."""
    for title, counter in zip(titles([(one.name, one.attributes) for one in counters]), counters, strict=True):
        name = json.dumps(f"{title} [{counter.unit}]")
        samples = zip(counter.time_ns.tolist(), counter.value.tolist(), strict=True)
        lines = (
            f',\n{{"ph":"C","name":{name},"ts":{_micros(time - zero)},"pid":{process},"args":{{"value":{value!r}}}}}'
            for time, value in samples
            if math.isfinite(value)  # JSON knows no others
        )
        yield "".join(lines).encode()


def _micros(nanoseconds: int) -> str:
    whole, rest = divmod(max(nanoseconds, 0), 1000)
    return f"{whole}.{rest:03}"


def _metadata(kind: str, process: object, thread: int, arguments: dict[str, str | int]) -> bytes:
    event = {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": arguments}
    return json.dumps(event, separators=(",", ":")).encode()
