"""Spans below the predictions, for evaluations whose trace goes deeper than the level "model"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlms.executor.loading import LoadedModel
from mlms.hooks.types import Batch
from mlms.manifests.types import Evaluation
from mlms.tracing.clock import unix_ns
from mlms.tracing.levels import depth
from mlms.tracing.session import Step, Tracing

if TYPE_CHECKING:
    from mlms.tracing.recorder import Part, Recorder, Spans
    from mlms.tracing.spans import SpanTable

Times = npt.NDArray[np.int64]


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


def recorded_spans(recorder: Recorder, steps: Sequence[tuple[Step, int]]) -> Iterator[SpanTable]:
    """Recorded spans, predictions included, below the ``steps`` that they ran in (each with its start, in order).

    Threads that a model starts make no predictions: what ran there lies below the prediction during which it began.
    """
    import polars as pl

    from mlms.tracing.assembly import Below, activity_table, span_table
    from mlms.tracing.recorder import match

    trace_id = steps[0][0].trace_id or ""
    below = [Below(began, step.span_id or "") for step, began in steps]
    predictions: list[Below] = []
    keys: list[pl.DataFrame] = []

    def table(part: Part, spans: Spans, parents: Sequence[Below]) -> SpanTable:
        made = span_table(spans, recorder.names, trace_id, parents, part.thread)
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
        made = table(part, spans, below)
        ids = made.frame["span_id"].filter(pl.Series(model))
        predictions += map(Below, spans.start[model].tolist(), ids.to_list(), spans.end[model].tolist())
        yield made
    for part in helping:
        yield table(part, match(part.events), [*below, *predictions])
    for found in recorder.activities:
        parents = pl.concat(keys) if keys else pl.DataFrame(schema={"key": pl.Int64, "span_id": pl.String})
        yield activity_table(found, parents, trace_id, [*below, *predictions])


def prediction_spans(step: Step, evaluation: Evaluation, starts: Times, ends: Times) -> SpanTable:
    """A span for each prediction below its step, made of their times (ns of ``perf_counter_ns``)."""
    from mlms.tracing.spans import predictions

    return predictions(
        step.trace_id or "",
        step.span_id,
        f"predict {evaluation.model.name}",
        unix_ns(starts),
        unix_ns(ends),
        {"mlms.query": np.arange(len(starts)), "mlms.batch_size": evaluation.batch_size},
    )
