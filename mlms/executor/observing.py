"""Spans below the predictions, for evaluations whose trace goes deeper than the level "model"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlms.executor.loading import LoadedModel
from mlms.hooks.types import Batch
from mlms.manifests.types import Evaluation
from mlms.tracing.levels import depth
from mlms.tracing.session import Step, Tracing

if TYPE_CHECKING:
    from mlms.tracing.recorder import Recorder
    from mlms.tracing.spans import SpanTable


@contextmanager
def observed(
    evaluation: Evaluation, model: LoadedModel, batch: Batch, tracing: Tracing, recorder: Recorder
) -> Iterator[bool]:
    """Record what is below each prediction for as long as the context is open; False where the trace ends above it.

    ``batch`` is predicted once, before anything is recorded, to describe the layers with.
    """
    if not tracing.enabled or depth(evaluation.trace.level) <= depth("model"):
        yield False
        return
    # What "hardware" adds are counters, which are not the framework's.
    level = min(evaluation.trace.level, "library", key=depth)
    with model.observed(recorder, level, batch):
        yield True


def recorded_spans(recorder: Recorder, steps: Sequence[tuple[Step, int]]) -> Iterator[SpanTable]:
    """Recorded spans, predictions included, below the ``steps`` that they ran in (each with its start, in order)."""
    from mlms.tracing.assembly import Below, span_table
    from mlms.tracing.recorder import match

    below = [Below(began, step.span_id or "") for step, began in steps]
    for part in recorder.parts():
        yield span_table(match(part.events), recorder.names, steps[0][0].trace_id or "", below, part.thread)
