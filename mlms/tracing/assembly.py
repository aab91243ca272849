"""Recorded spans into the span table: identifiers, parents and attributes for all of them at once. Imports polars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mlms.tracing import attributes as attribute_text
from mlms.tracing.clock import unix_ns
from mlms.tracing.events import ENTER, EXIT
from mlms.tracing.observations import Activities
from mlms.tracing.recorder import Name, Spans
from mlms.tracing.spans import SCHEMA, SpanTable, span_ids


@dataclass(frozen=True, slots=True)
class Below:
    """A span that roots lie below which start in it: from ``start`` to ``end``, or to the next one's start (None).

    Times in ns of ``perf_counter_ns``.
    """

    start: int
    span_id: str
    end: int | None = None


def span_table(spans: Spans, names: Sequence[Name], trace_id: str, below: Sequence[Below], thread: int) -> SpanTable:
    """A row for each recorded span, in their order; the roots below what ``outer`` says."""
    own = span_ids(len(spans.start))
    inner = own.gather(np.clip(spans.parent, 0, None))
    frame = pl.DataFrame(
        {
            "span_id": own,
            "parent_id": inner.zip_with(pl.Series(spans.parent >= 0), outer(spans.start, below)),
            "name": pl.Series([name.text for name in names], dtype=pl.String).gather(spans.identifier),
            "level": pl.Series([name.level for name in names], dtype=pl.String).gather(spans.identifier),
            "start_ns": pl.Series(unix_ns(spans.start), dtype=pl.Int64),
            "end_ns": pl.Series(unix_ns(spans.end), dtype=pl.Int64),
            "status": pl.Series(["unset", "error"]).gather(spans.failed.astype(np.int64)),
            "attributes": _attributes(spans, names, thread),
        }
    ).with_columns(trace_id=pl.lit(trace_id), status_message=pl.lit(None, dtype=pl.String))
    return SpanTable(frame.select(list(SCHEMA)))


def activity_table(found: Activities, parents: pl.DataFrame, trace_id: str, below: Sequence[Below]) -> SpanTable:
    """A row for each activity, below the span that it was launched in: ``parents`` has ``key`` (Int64) and ``span_id``.

    One whose launch isn't known is marked, and lies where ``outer`` puts it.
    """
    elsewhere = outer(found.start_ns - unix_ns(0), below)
    launched = pl.DataFrame({"key": pl.Series(found.launched_in, dtype=pl.Int64)})
    known = launched.join(parents, on="key", how="left", maintain_order="left")["span_id"]
    texts = [
        attribute_text.dumps({**mapping, "mlms.unattributed": None if attributed else True})
        for mapping, attributed in zip(found.attributes, known.is_not_null(), strict=True)
    ]
    frame = pl.DataFrame(
        {
            "span_id": span_ids(len(found.start_ns)),
            "parent_id": known.fill_null(elsewhere),
            "name": pl.Series(found.names, dtype=pl.String).gather(found.name),
            "start_ns": pl.Series(found.start_ns, dtype=pl.Int64),
            "end_ns": pl.Series(found.end_ns, dtype=pl.Int64),
            "attributes": pl.Series(texts, dtype=pl.String),
        }
    ).with_columns(
        trace_id=pl.lit(trace_id),
        level=pl.lit(found.level),
        status=pl.lit("unset"),
        status_message=pl.lit(None, dtype=pl.String),
    )
    return SpanTable(frame.select(list(SCHEMA)))


def outer(start: npt.NDArray[np.int64], below: Sequence[Below]) -> pl.Series:
    """What spans that start then (ns of ``perf_counter_ns``) lie below: the last of ``below`` to have begun and not
    ended; without one, the last that has no end of its own.
    """
    steps = sorted((item for item in below if item.end is None), key=lambda item: item.start)
    inner = sorted((item for item in below if item.end is not None), key=lambda item: item.start)
    step = np.searchsorted([item.start for item in steps], start, side="right") - 1
    found: pl.Series = pl.Series([item.span_id for item in steps], dtype=pl.String).gather(np.clip(step, 0, None))
    if inner:
        place = np.searchsorted([item.start for item in inner], start, side="right") - 1
        ends = np.array([item.end for item in inner])
        inside = (place >= 0) & (start < ends[np.clip(place, 0, None)])
        within: pl.Series = pl.Series([item.span_id for item in inner], dtype=pl.String).gather(np.clip(place, 0, None))
        found = within.zip_with(pl.Series(inside), found)
    return found


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
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Nested intervals of one thread as events for ``recorder.match``, and the position of each event's interval.

    Shapes (2 * intervals, 2) and (2 * intervals,). ``code`` is the identifier of each interval's name. Of intervals
    that start together the longer one is the outer.
    """
    order = np.lexsort((-end, start))
    start, end, code = start[order], end[order], code[order]
    events: list[tuple[int, int]] = []
    places: list[int] = []
    open_: list[tuple[int, int]] = []

    def close() -> None:
        closes, place = open_.pop()
        events.append((3 * int(code[place]) + EXIT, closes))
        places.append(place)

    for place, (begins, ends) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        while open_ and open_[-1][0] <= begins:
            close()
        # What the clock's resolution lets stick out over its parent ends with it.
        events.append((3 * int(code[place]) + ENTER, begins))
        places.append(place)
        open_.append((min(ends, open_[-1][0]) if open_ else ends, place))
    while open_:
        close()
    return np.array(events, dtype=np.int64).reshape(-1, 2), order[np.array(places, dtype=np.int64)]
