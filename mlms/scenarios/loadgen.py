"""MLPerf LoadGen runs a scenario and judges it.

In ``single_stream`` LoadGen's sample is one whole batch, made beforehand, so that a query of batch size 1 is MLPerf's
own and larger ones keep its one-at-a-time semantics. In ``offline`` it is one dataset sample, as in MLPerf, and the
system under test forms the batches.

Imported only when a measurement starts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlperf_loadgen as loadgen
import numpy as np
import numpy.typing as npt

from mlms.hooks.types import Batch, Outputs
from mlms.manifests.types import ScenarioSpec
from mlms.progress import Progress
from mlms.scenarios.sut import Positions, Predict, Recording, batch_per_query, batches_of_query

MINIMUM_EXPECTED_NS = 10_000
"""LoadGen makes all its queries beforehand, min_duration / expected latency of them: this bounds their memory."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """LoadGen's three random streams."""

    qsl: int
    sample_index: int
    schedule: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """A finished scenario. Times in ns of ``perf_counter_ns``; arrays have one entry a prediction."""

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    answered: tuple[Positions, ...]
    outputs: tuple[tuple[Positions, Outputs], ...]
    valid: bool
    problems: tuple[str, ...]
    loadgen_version: str

    @property
    def samples(self) -> int:
        return sum(len(positions) for positions in self.answered)

    @property
    def duration_s(self) -> float:
        """From the first prediction's start to the last one's end."""
        return float(self.ends[-1] - self.starts[0]) / 1e9

    @property
    def throughput(self) -> float:
        """Samples a second."""
        return self.samples / self.duration_s


def measure(
    spec: ScenarioSpec,
    predict: Predict,
    samples: int,
    batch_size: int,
    stack: Callable[[Positions], Batch],
    *,
    expected_ns: int,
    seeds: Seeds,
    log_directory: Path,
    progress: Progress,
) -> Measurement:
    """Run a scenario over ``samples`` loaded samples, which ``stack`` makes batches of.

    ``expected_ns`` is the latency to expect of one batch; LoadGen plans with it and does not judge by it. Its logs are
    left in ``log_directory``. Whatever ``predict`` raised is raised again once LoadGen has wound up.
    """
    settings = _settings(spec, expected_ns, batch_size, seeds)
    with progress.task(f"measuring {spec.type}", total=None, unit="predictions") as advance:
        recording = Recording(predict, advance)
        if spec.type == "single_stream":
            ready = _ready_batches(samples, batch_size, stack)
            issue, library = batch_per_query(ready, recording), len(ready)
        else:
            issue, library = batches_of_query(stack, batch_size, recording), samples
        _run(issue, library, settings, log_directory)
    if recording.error is not None:
        raise recording.error
    valid, problems = _verdict(log_directory / "mlperf_log_detail.txt")
    return Measurement(
        starts=np.array(recording.starts, dtype=np.int64),
        ends=np.array(recording.ends, dtype=np.int64),
        answered=tuple(recording.answered),
        outputs=tuple(recording.outputs),
        valid=valid,
        problems=problems,
        loadgen_version=version("mlcommons-loadgen"),
    )


def _ready_batches(
    samples: int, batch_size: int, stack: Callable[[Positions], Batch]
) -> Sequence[tuple[Positions, Batch]]:
    """Whole batches only: the last is filled up from the start, since a smaller one would answer faster."""
    count = -(-samples // batch_size)
    every = [tuple((start * batch_size + offset) % samples for offset in range(batch_size)) for start in range(count)]
    return [(positions, stack(positions)) for positions in every]


def _settings(spec: ScenarioSpec, expected_ns: int, batch_size: int, seeds: Seeds) -> Any:
    settings = loadgen.TestSettings()
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(spec.min_duration * 1000)
    settings.max_duration_ms = round(spec.max_duration * 1000)
    settings.min_query_count = spec.min_queries
    settings.qsl_rng_seed = seeds.qsl
    settings.sample_index_rng_seed = seeds.sample_index
    settings.schedule_rng_seed = seeds.schedule
    expected_ns = max(expected_ns, MINIMUM_EXPECTED_NS)
    if spec.type == "single_stream":
        settings.scenario = loadgen.TestScenario.SingleStream
        # Half of it: LoadGen ends the test where the queries it made beforehand run out.
        settings.single_stream_expected_latency_ns = max(expected_ns // 2, MINIMUM_EXPECTED_NS)
    else:
        settings.scenario = loadgen.TestScenario.Offline
        rate = batch_size * 1e9 / expected_ns
        settings.offline_expected_qps = rate
        # An offline query can't be cut short once issued, so the limit on time has to limit its samples.
        settings.min_query_count = max(1, min(spec.min_queries, int(rate * spec.max_duration)))
    return settings


def _run(issue: Callable[[Any], None], library: int, settings: Any, log_directory: Path) -> None:
    log_directory.mkdir(parents=True, exist_ok=True)
    logs = loadgen.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(log_directory)
    logs.log_output.copy_summary_to_stdout = False
    sut = loadgen.ConstructSUT(issue, _nothing_to_flush)
    qsl = loadgen.ConstructQSL(library, library, _already_loaded, _already_loaded)
    try:
        loadgen.StartTestWithLogSettings(sut, qsl, settings, logs, "")
    finally:
        loadgen.DestroyQSL(qsl)
        loadgen.DestroySUT(sut)


def _nothing_to_flush() -> None:
    """Every query is answered before the call that issued it returns."""


def _already_loaded(indices: Sequence[int]) -> None:
    """The samples were preprocessed before LoadGen started, and are let go after it ended."""


def _verdict(detail: Path) -> tuple[bool, tuple[str, ...]]:
    """LoadGen's judgement and its reasons, from the ``:::MLLOG`` lines of its detail log."""
    valid, problems = False, []
    for line in detail.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith(":::MLLOG "):
            continue
        entry = json.loads(line.removeprefix(":::MLLOG "))
        if entry["key"] == "result_validity":
            valid = entry["value"] == "VALID"
        elif entry["key"] == "result_invalid_reason":
            problems.append(str(entry["value"]))
    return valid, tuple(problems)
