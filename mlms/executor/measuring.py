"""Samples made ready, and the scenario run over them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlms.analysis.latency import queries_needed
from mlms.errors import DataError
from mlms.executor.binding import Bound
from mlms.executor.loading import LoadedModel
from mlms.hooks.types import Batch
from mlms.manifests.types import Evaluation, ScenarioSpec
from mlms.pipeline.preparation import Prepared, prepare, prepare_ahead, stack
from mlms.progress import Progress
from mlms.scenarios.loadgen import Measurement, Seeds, measure
from mlms.scenarios.sut import Positions

MLPERF_OFFLINE_SAMPLES = 24_576


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


def run_scenario(
    evaluation: Evaluation,
    model: LoadedModel,
    loaded: Sequence[Prepared],
    total: int,
    expected_ns: int,
    log_directory: Path,
    progress: Progress,
    region: AbstractContextManager[object],
    at: str = "",
) -> tuple[Measurement, Seeds]:
    """Measure under the evaluation's scenario, its random streams those given or derived from the evaluation's seed.

    ``total`` is the number of samples of the dataset, of which ``loaded`` are at hand; ``at`` is for the display.
    """
    spec = evaluation.scenario
    seeds = seeds_of(evaluation)
    measurement = measure(
        replace(spec, min_query_count=least_queries(spec, total)),
        model.predict,
        len(loaded),
        evaluation.batch_size,
        lambda positions: batch_of(loaded, positions),
        expected_ns=expected_ns,
        seeds=seeds,
        log_directory=log_directory,
        progress=progress,
        region=region,
        at=at,
        tail_needs=queries_needed(spec.target_latency_percentile),
        prime=evaluation.warmup != 0,
        checkpoint=model.checkpoint,
    )
    if spec.mode == "accuracy" and len(loaded) < total:
        problem = (
            f"LoadGen sent {len(loaded)} of the {total} samples, and the rest were predicted without it: raise "
            "preprocessing.memory_mib"
        )
        measurement = replace(measurement, problems=(*measurement.problems, problem))
    return measurement, seeds


def least_queries(spec: ScenarioSpec, total: int) -> int:
    """Queries (``offline``: samples) that a measurement has to make.

    What the manifest asks for, else what the tail needs at 99% confidence; under the profile "mlperf" not less than
    that, and in ``offline`` 24,576 samples, or all ``total`` of a smaller dataset (``mlperf.conf``).
    """
    tail = 1 if spec.type == "offline" else queries_needed(spec.target_latency_percentile)
    if spec.profile != "mlperf":
        return spec.min_query_count or tail
    if spec.type == "offline":
        tail = min(MLPERF_OFFLINE_SAMPLES, total)
    return max(spec.min_query_count or 1, tail)


def seeds_of(evaluation: Evaluation) -> Seeds:
    """LoadGen's random streams: those of the scenario, the others derived from the evaluation's seed."""
    qsl, index, schedule = (int(word) for word in np.random.SeedSequence(evaluation.seed).generate_state(3))
    given = evaluation.scenario.seeds
    return Seeds(
        qsl=given.get("qsl_rng_seed", qsl),
        sample_index=given.get("sample_index_rng_seed", index),
        schedule=given.get("schedule_rng_seed", schedule),
    )
