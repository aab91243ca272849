"""What mlms and LoadGen themselves cost a query, found with a predictor that does nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mlms.errors import StorageError
from mlms.executor.measuring import batch_of, seeds_of
from mlms.hooks.types import Batch, Outputs
from mlms.manifests.types import Evaluation, ScenarioSpec
from mlms.pipeline.preparation import Prepared
from mlms.progress import Silent
from mlms.runs.summary import format_duration
from mlms.scenarios.loadgen import Measurement, measure

DURATION_S = 0.1
EXPECTED_NS = 10_000
"""A query of a prediction that does nothing, at most: LoadGen makes twice as many queries as that takes beforehand, and
making them takes longer than the measurement where it is told to expect much less."""
LEAST_QPS = 1000.0
"""At fewer queries a second there would be too few to tell."""
WORTH_A_WARNING = 0.02


@dataclass(frozen=True, slots=True)
class HarnessCost:
    """``null_query_ns`` is the median of a query that takes no prediction, ``share_of_median`` that of the real one's.

    In ``offline`` it is the mean of a batch, whose making counts.
    """

    null_query_ns: float
    share_of_median: float | None = None
    warning: str | None = None

    def beside(self, median_ns: float | None) -> HarnessCost:
        """The same beside the measured median."""
        if not median_ns:
            return self
        share = self.null_query_ns / median_ns
        warning = None
        if share > WORTH_A_WARNING:
            warning = (
                f"the harness takes {format_duration(self.null_query_ns)} a query, {share:.1%} of the median: compare "
                "such short latencies with care, or measure larger batches"
            )
        return replace(self, share_of_median=share, warning=warning)


def harness_cost(
    evaluation: Evaluation, loaded: Sequence[Prepared], folder: Path, warn: Callable[[str], None]
) -> HarnessCost | None:
    """Run the evaluation's scenario for a moment without the model; None in accuracy mode, which times nothing.

    LoadGen's logs of it go to ``folder`` meanwhile. Where they can't be written that is a warning: the figure is a
    remark on what has been measured already.
    """
    spec = evaluation.scenario
    if spec.mode == "accuracy":
        return None
    quick = replace(
        spec,
        min_query_count=1,
        min_duration=DURATION_S,
        max_duration=5 * DURATION_S,
        target_qps=spec.target_qps and max(spec.target_qps, LEAST_QPS),
        offline_expected_qps=None,
        max_queue_delay=0.0,  # asked for, and so no cost of the harness
        trace_log=False,
    )
    logs = folder / "harness"
    try:
        measurement = measure(
            quick,
            _nothing,
            len(loaded),
            evaluation.batch_size,
            lambda positions: batch_of(loaded, positions),
            expected_ns=EXPECTED_NS * (evaluation.batch_size if spec.type == "offline" else 1),
            seeds=seeds_of(evaluation),
            log_directory=logs,
            progress=Silent(),
            region=nullcontext(),
        )
    except StorageError as error:
        warn(f"what the harness costs is not known: {error.message}")
        return None
    finally:
        shutil.rmtree(logs, ignore_errors=True)
    if spec.type == "offline":
        return HarnessCost(measurement.duration_s * 1e9 / len(measurement.starts))
    return HarnessCost(measurement.loadgen.percentiles[50.0])


def median_latency(spec: ScenarioSpec, measurement: Measurement) -> float:
    """What the harness is held against, taken as its cost is: LoadGen's own; in ``offline`` the batches'; ns."""
    if spec.type == "offline":
        return float(np.median(measurement.queries.latencies))
    return float(measurement.loadgen.percentiles[50.0])


def _nothing(batch: Batch) -> Outputs:
    return NO_OUTPUTS


NO_OUTPUTS: Mapping[str, object] = {}
