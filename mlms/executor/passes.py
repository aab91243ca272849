"""The scenario, run once, or once for each trace level.

Leveled profiling is XSP's method (Li et al., arXiv 1908.06869, "leveled experimentation"): each level's figures are
taken from the shallowest run that has them, since what records a level lengthens all that is above it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mlms.executor.loading import LoadedModel
from mlms.executor.measuring import run_scenario
from mlms.executor.observing import Predicted, observed, prediction_spans, recorded_spans
from mlms.executor.profiling import profiled, replayed
from mlms.executor.warming import WarmUp, warm_up
from mlms.hooks.components import Components
from mlms.hooks.types import Batch, Context
from mlms.manifests.types import Evaluation
from mlms.pipeline.preparation import Prepared
from mlms.profilers.region import MeasuredRegion
from mlms.progress import Progress
from mlms.scenarios.loadgen import Measurement, Seeds
from mlms.tracing.levels import LEVELS, depth
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Step, Tracing

if TYPE_CHECKING:
    from mlms.tracing.spans import SpanTable

log = logging.getLogger("mlms")

LEVEL = "mlms.trace.level"
"""The attribute of a step that says down to which level its predictions were traced."""


class MakeStep(Protocol):
    """Opens a span of an application step."""

    def __call__(self, name: str, **attributes: Any) -> AbstractContextManager[Step]: ...


@dataclass(frozen=True, slots=True)
class Pass:
    """The scenario run once at ``level``: its two steps, each with its start (ns, ``perf_counter_ns``).

    ``recorder`` has what profilers observed, and with ``deep`` the predictions and what is below them.
    """

    level: str
    warmed_up: WarmUp
    measurement: Measurement
    seeds: Seeds
    steps: tuple[tuple[Step, int], tuple[Step, int]]
    region: MeasuredRegion
    recorder: Recorder
    deep: bool

    def spans(self, evaluation: Evaluation) -> Iterator[SpanTable]:
        """The predictions and what is below them, as far down as this pass went."""
        warmed_up, measured = self.warmed_up, self.measurement
        predicted = (
            Predicted(warmed_up.starts, warmed_up.ends, np.full(len(warmed_up.starts), evaluation.batch_size)),
            Predicted(measured.starts, measured.ends, measured.sizes),
        )
        if self.deep:
            yield from recorded_spans(self.recorder, self.steps, predicted)
        elif depth(self.level) >= depth("model") and self.steps[0][0].trace_id is not None:
            for (step, _), those in zip(self.steps, predicted, strict=True):
                yield prediction_spans(step, evaluation.model.name, those)

    def figures(self, shallowest: Pass) -> dict[str, Any]:
        """The record's line on it. ``overhead`` is what its median prediction takes more than the shallowest's, among
        those of the batch size that most of the shallowest have.
        """
        size = int(np.bincount(shallowest.measurement.sizes).argmax())
        mine, theirs = (one.measurement.median_ns(size) for one in (self, shallowest))
        return {
            "level": self.level,
            "predictions": len(self.measurement.starts),
            "median_ns": mine,
            "overhead": mine / theirs - 1,
        }


@dataclass(frozen=True, slots=True)
class Passes:
    """What is the same in each pass over the scenario of one evaluation.

    ``folder`` is where a recorder puts what memory can't hold; ``some`` a batch to describe layers with; ``context``
    what profilers are told.
    """

    evaluation: Evaluation
    model: LoadedModel
    loaded: list[Prepared]
    total: int
    some: Batch
    tracing: Tracing
    folder: Path
    components: Components
    context: Context
    progress: Progress

    def levels(self) -> tuple[str, ...]:
        """The trace levels to run at, the shallowest first."""
        trace = self.evaluation.trace
        if not trace.leveled or not self.tracing.enabled:
            return (trace.level,)
        return LEVELS[depth("model") : depth(trace.level) + 1]

    def run(self, level: str, logs: Path, step: MakeStep) -> Pass:
        """Warm up and measure at ``level``, with the profilers on that this level has."""
        evaluation, model = self.evaluation, self.model
        at = f" at level {level}" if self.tracing.enabled and evaluation.trace.leveled else ""
        folder = self.folder / level
        folder.mkdir()
        recorder, region = Recorder(folder), MeasuredRegion(evaluation.execution.gc, self.context.worker_pid)
        with (
            profiled(
                evaluation, self.components, self.context, recorder, level if self.tracing.enabled else "none"
            ) as on,
            observed(level, model, self.some, self.tracing, recorder) as deep,
        ):
            with self.progress.task(f"warming up{at}"), step("warm_up", **{LEVEL: level}) as warming_up:
                began = perf_counter_ns()
                warmed_up = warm_up(evaluation, model, self.loaded)
            log.info("warm-up: %d predictions, steady: %s", len(warmed_up.starts), warmed_up.steady)
            with step("measure", **{LEVEL: level}) as measuring:
                steps = ((warming_up, began), (measuring, perf_counter_ns()))
                measurement, seeds = run_scenario(
                    evaluation, model, self.loaded, self.total, warmed_up.expected_ns, logs, self.progress, region, at
                )
        replayed(on, lambda: model.predict(self.some), recorder)
        return Pass(level, warmed_up, measurement, seeds, steps, region, recorder, deep)
