"""Recorded spans into the span table: identifiers, parents and attributes for all of them at once. Imports polars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mlms.tracing import attributes as attribute_text
from mlms.tracing.clock import unix_ns
from mlms.tracing.recorder import Name, Spans
from mlms.tracing.spans import SCHEMA, SpanTable, span_ids


@dataclass(frozen=True, slots=True)
class Below:
    """The span that recorded roots lie below from ``start`` (ns of ``perf_counter_ns``) on."""

    start: int
    span_id: str


def span_table(spans: Spans, names: Sequence[Name], trace_id: str, below: Sequence[Below], thread: int) -> SpanTable:
    """A row for each recorded span. A root's parent is the last of ``below`` (in order) that starts before it."""
    count = len(spans.start)
    own = span_ids(count)
    roots = np.array([item.start for item in below], dtype=np.int64)
    step = np.clip(np.searchsorted(roots, spans.start, side="right") - 1, 0, None)
    outer = pl.Series([item.span_id for item in below], dtype=pl.String).gather(step)
    inner = own.gather(np.clip(spans.parent, 0, None))
    frame = pl.DataFrame(
        {
            "span_id": own,
            "parent_id": inner.zip_with(pl.Series(spans.parent >= 0), outer),
            "name": pl.Series([name.text for name in names], dtype=pl.String).gather(spans.identifier),
            "level": pl.Series([name.level for name in names], dtype=pl.String).gather(spans.identifier),
            "start_ns": pl.Series(unix_ns(spans.start), dtype=pl.Int64),
            "end_ns": pl.Series(unix_ns(spans.end), dtype=pl.Int64),
            "status": pl.Series(["unset", "error"]).gather(spans.failed.astype(np.int64)),
            "attributes": _attributes(spans, names, thread),
        }
    ).with_columns(trace_id=pl.lit(trace_id), status_message=pl.lit(None, dtype=pl.String))
    return SpanTable(frame.select(list(SCHEMA)))


def _attributes(spans: Spans, names: Sequence[Name], thread: int) -> pl.Series:
    """One text for each name and call that occurs; most spans share theirs with many others."""
    most = max((len(name.calls) for name in names), default=0)
    call = np.minimum(spans.occurrence, most)
    distinct, place = np.unique(spans.identifier * (most + 1) + call, return_inverse=True)
    texts = [_text(names[int(key) // (most + 1)], int(key) % (most + 1), thread) for key in distinct]
    return pl.Series(texts, dtype=pl.String).gather(place)


def _text(name: Name, call: int, thread: int) -> str:
    of_call = name.calls[call] if call < len(name.calls) else {}
    return attribute_text.dumps({**name.attributes, **of_call, "thread.id": thread})


def nested_events(
    start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], code: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Nested intervals of one thread as events for ``recorder.match``, shape (2 * intervals, 2).

    ``code`` is the identifier of each interval's name. Of intervals that start together the longer one is the outer.
    """
    order = np.lexsort((-end, start))
    start, end, code = start[order], end[order], code[order]
    events: list[tuple[int, int]] = []
    open_: list[tuple[int, int]] = []
    for begins, ends, identifier in zip(start.tolist(), end.tolist(), code.tolist(), strict=True):
        while open_ and open_[-1][0] <= begins:
            closes, closing = open_.pop()
            events.append((3 * closing + 1, closes))
        # What the clock's resolution lets stick out over its parent ends with it.
        events.append((3 * identifier, begins))
        open_.append((min(ends, open_[-1][0]) if open_ else ends, identifier))
    while open_:
        closes, closing = open_.pop()
        events.append((3 * closing + 1, closes))
    return np.array(events, dtype=np.int64).reshape(-1, 2)
