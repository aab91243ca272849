"""What was recorded of observed predictions, as spans with their ancestors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlms.executor.observing import recorded_spans
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Step


@dataclass(frozen=True, slots=True)
class Span:
    """A span as a trace has it. ``parent`` is None for a prediction."""

    name: str
    level: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    parent: Span | None

    def __str__(self) -> str:
        return f"{self.level} span '{self.name}'"

    def ancestors(self) -> Iterator[Span]:
        span = self.parent
        while span is not None:
            yield span
            span = span.parent


def spans_of(recorder: Recorder) -> list[Span]:
    """All spans, each prediction before what lies below it."""
    tables = recorded_spans(recorder, [(Step(None), 0)])
    rows = {row["span_id"]: row for table in tables for row in table.frame.iter_rows(named=True)}
    made: dict[str, Span] = {}

    def span(key: str) -> Span:
        if key not in made:
            row = rows[key]
            parent = span(row["parent_id"]) if row["parent_id"] in rows else None
            made[key] = Span(
                name=row["name"],
                level=row["level"],
                start_ns=row["start_ns"],
                end_ns=row["end_ns"],
                attributes=json.loads(row["attributes"]),
                parent=parent,
            )
        return made[key]

    return [span(key) for key in rows]


def recorded_events(recorder: Recorder) -> int:
    """How much there is in the recorder."""
    return sum(len(part.events) for part in recorder.parts()) + len(recorder.activities)
