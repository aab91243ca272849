"""Spans below the predictions, for evaluations whose trace goes deeper than the level "model"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlms.executor.loading import LoadedModel
from mlms.hooks.types import Batch
from mlms.tracing.clock import unix_ns
from mlms.tracing.levels import depth
from mlms.tracing.session import Step, Tracing

if TYPE_CHECKING:
    from mlms.tracing.recorder import Name, Part, Recorder, Spans
    from mlms.tracing.spans import SpanTable

Times = npt.NDArray[np.int64]
BATCH_SIZE = "mlms.batch_size"


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions of one step: when each began and ended (ns of ``perf_counter_ns``) and how many samples it had.

    Arrays of shape (predictions,).
    """

    starts: Times
    ends: Times
    sizes: npt.NDArray[np.int64]


@contextmanager
def observed(level: str, model: LoadedModel, batch: Batch, tracing: Tracing, recorder: Recorder) -> Iterator[bool]:
    """Record what is below each prediction for as long as the context is open; False where ``level`` is above it.

    ``batch`` is predicted once, before anything is recorded, to describe the layers with.
    """
    if not tracing.enabled or depth(level) <= depth("model"):
        yield False
        return
    # What "hardware" adds are counters, which are not the framework's.
    with model.observed(recorder, min(level, "library", key=depth), batch):
        yield True


def recorded_spans(
    recorder: Recorder, steps: Sequence[tuple[Step, int]], predicted: Sequence[Predicted] = ()
) -> Iterator[SpanTable]:
    """Recorded spans, predictions included, below the ``steps`` that they ran in (each with its start, in order).

    Threads that a model starts make no predictions: what ran there lies below the prediction during which it began.
    A prediction's batch size is that of ``predicted``, where given: a framework is told one before any is made.
    """
    import polars as pl

    from mlms.tracing.assembly import Below, activity_table, span_table
    from mlms.tracing.recorder import match

    trace_id = steps[0][0].trace_id or ""
    below = [Below(began, step.span_id or "") for step, began in steps]
    predictions: list[Below] = []
    keys: list[pl.DataFrame] = []
    names = list(recorder.names)

    def table(part: Part, spans: Spans, parents: Sequence[Below]) -> SpanTable:
        made = span_table(spans, names, trace_id, parents, part.thread)
        if recorder.activities:
            keys.append(pl.DataFrame({"key": part.keys[spans.entry], "span_id": made.frame["span_id"]}))
        return made

    helping: list[Part] = []
    for part in recorder.parts():
        spans = match(part.events)
        model = np.array([name.level == "model" for name in recorder.names])[spans.identifier]
        if not model.any():
            helping.append(part)
            continue
        made = table(part, _sized(spans, model, names, predicted) if predicted else spans, below)
        ids = made.frame["span_id"].filter(pl.Series(model))
        predictions += map(Below, spans.start[model].tolist(), ids.to_list(), spans.end[model].tolist())
        yield made
    for part in helping:
        yield table(part, match(part.events), [*below, *predictions])
    for found in recorder.activities:
        parents = pl.concat(keys) if keys else pl.DataFrame(schema={"key": pl.Int64, "span_id": pl.String})
        yield activity_table(found, parents, trace_id, [*below, *predictions])


def prediction_spans(step: Step, name: str, predicted: Predicted) -> SpanTable:
    """A span for each prediction of a model below its step."""
    from mlms.tracing.spans import predictions

    return predictions(
        step.trace_id or "",
        step.span_id,
        f"predict {name}",
        unix_ns(predicted.starts),
        unix_ns(predicted.ends),
        {"mlms.query": np.arange(len(predicted.starts)), BATCH_SIZE: predicted.sizes},
    )


def _sized(spans: Spans, model: npt.NDArray[np.bool_], names: list[Name], predicted: Sequence[Predicted]) -> Spans:
    """The same, those of ``model`` under names with the size of their own batch, which are added to ``names``.

    What is none of ``predicted``, such as a worker's first prediction before any query, has no size.
    """
    where = np.flatnonzero(model)
    sizes = _sizes(spans.start[where], spans.end[where], predicted)
    identifier = spans.identifier.copy()
    for before, size in sorted({*zip(identifier[where].tolist(), sizes.tolist(), strict=True)}):
        mine = where[(spans.identifier[where] == before) & (sizes == size)]
        identifier[mine] = len(names)
        name = names[before]
        names.append(replace(name, attributes={**name.attributes, BATCH_SIZE: size or None}))
    return replace(spans, identifier=identifier)


def _sizes(start: Times, end: Times, predicted: Sequence[Predicted]) -> npt.NDArray[np.int64]:
    """The size of the prediction that was timed around each span, 0 without one.

    Of several at a time, in threads of their own, it is the first to end: its thread reads the clock right after the
    span. Only where a runtime's own clock puts the span's end beyond that is it the last that had begun.
    """
    starts, ends, sizes = (
        np.concatenate([getattr(each, name) for each in predicted]) for name in ("starts", "ends", "sizes")
    )
    found = np.zeros(len(start), np.int64)
    if not len(starts):
        return found
    last = len(starts) - 1
    by_end, by_start = np.argsort(ends, kind="stable"), np.argsort(starts, kind="stable")
    around = by_end[np.minimum(np.searchsorted(ends[by_end], end), last)]
    begun = by_start[np.maximum(np.searchsorted(starts[by_start], start, side="right") - 1, 0)]
    for place in (begun, around):
        there = (starts[place] <= start) & (start <= ends[place])
        found[there] = sizes[place[there]]
    return found
