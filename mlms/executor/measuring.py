"""Warm up, then measure under the scenario."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt

from mlms.errors import DataError
from mlms.executor.binding import Bound
from mlms.executor.loading import LoadedModel
from mlms.hooks.types import Batch
from mlms.manifests.types import Evaluation
from mlms.pipeline.preparation import Prepared, prepare, prepare_ahead, stack
from mlms.progress import Progress
from mlms.scenarios.loadgen import Measurement, Seeds, measure
from mlms.scenarios.sut import Positions

UNKNOWN_LATENCY_NS = 1_000_000
"""What LoadGen is told to expect when there was no warm-up to learn from."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Starts and ends of predictions, ns of ``perf_counter_ns``, arrays of shape (predictions,)."""

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @property
    def latencies(self) -> npt.NDArray[np.int64]:
        return self.ends - self.starts


def load_samples(evaluation: Evaluation, bound: Bound, total: int, progress: Progress) -> list[Prepared]:
    """Preprocess the samples that the scenario draws from: all, or as many as ``memory_mib`` holds.

    Raises:
        DataError: the dataset is empty, or a sample can't be read.
    """
    if total == 0:
        raise DataError(f"dataset '{evaluation.dataset.name}' has no samples", hint="check its path")
    inputs = evaluation.model.input
    first = prepare(bound.dataset, 0, bound.preprocess, inputs)
    fitting = (evaluation.memory_mib << 20) // max(first.nbytes, 1)
    count = min(total, max(fitting, evaluation.batch_size))
    with progress.task("preprocessing", total=count, unit="samples") as advance:
        loaded = [first]
        advance(1)
        for sample in prepare_ahead(
            bound.dataset,
            range(1, count),
            bound.preprocess,
            inputs,
            workers=evaluation.workers,
            window=4 * evaluation.workers,
        ):
            loaded.append(sample)
            advance(1)
    return loaded


def batch_of(loaded: Sequence[Prepared], positions: Positions) -> Batch:
    return stack([loaded[position] for position in positions])


def warm_up(evaluation: Evaluation, model: LoadedModel, loaded: Sequence[Prepared]) -> Timings:
    """Predict exactly ``evaluation.warmup`` batches, going round the samples."""
    starts, ends = [], []
    for positions in islice(_round(len(loaded), evaluation.batch_size), evaluation.warmup):
        batch = batch_of(loaded, positions)
        starts.append(perf_counter_ns())
        model.predict(batch)
        ends.append(perf_counter_ns())
    return Timings(np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64))


def run_scenario(
    evaluation: Evaluation,
    model: LoadedModel,
    loaded: Sequence[Prepared],
    warmed_up: Timings,
    log_directory: Path,
    progress: Progress,
) -> tuple[Measurement, Seeds]:
    """Measure under the evaluation's scenario, its random streams derived from the evaluation's seed."""
    state = np.random.SeedSequence(evaluation.seed).generate_state(3)
    seeds = Seeds(qsl=int(state[0]), sample_index=int(state[1]), schedule=int(state[2]))
    measurement = measure(
        evaluation.scenario,
        model.predict,
        len(loaded),
        evaluation.batch_size,
        lambda positions: batch_of(loaded, positions),
        expected_ns=int(warmed_up.latencies.min()) if evaluation.warmup else UNKNOWN_LATENCY_NS,
        seeds=seeds,
        log_directory=log_directory,
        progress=progress,
    )
    return measurement, seeds


def _round(samples: int, batch_size: int) -> Iterator[Positions]:
    start = 0
    while True:
        yield tuple((start + offset) % samples for offset in range(batch_size))
        start += batch_size
