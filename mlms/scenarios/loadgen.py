"""MLPerf LoadGen runs a scenario and judges it.

In ``single_stream`` LoadGen's sample is one whole batch, made beforehand, so that a query of batch size 1 is MLPerf's
own and larger ones keep its one-at-a-time semantics. In the other scenarios it is one dataset sample, as in MLPerf, and
the system under test forms the batches.

Imported only when a measurement starts.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import mlperf_loadgen as loadgen

from mlms.errors import DataError
from mlms.manifests.types import ScenarioSpec
from mlms.progress import Progress
from mlms.scenarios.judging import Clock
from mlms.scenarios.measurement import Measurement, Queries, measurement_of
from mlms.scenarios.serving import Pool
from mlms.scenarios.settings import Seeds, loadgen_settings
from mlms.scenarios.sut import (
    Checkpoint,
    Failure,
    Predict,
    Recording,
    Stack,
    System,
    multi_stream,
    offline,
    single_stream,
)
from mlms.storage import writing

__all__ = ["Measurement", "Queries", "Seeds", "measure"]


def measure(
    spec: ScenarioSpec,
    predict: Predict,
    samples: int,
    batch_size: int,
    stack: Stack,
    *,
    expected_ns: int,
    seeds: Seeds,
    log_directory: Path,
    progress: Progress,
    region: AbstractContextManager[object],
    at: str = "",
    tail_needs: int = 1,
    prime: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Measurement:
    """Run a scenario over ``samples`` loaded samples, which ``stack`` makes batches of.

    ``expected_ns`` is the latency to expect of one prediction; LoadGen plans with it and does not judge by it. Its logs
    are left in ``log_directory``. ``region`` is entered just before LoadGen starts and left right after; ``at`` is what
    the display says beside the scenario. ``tail_needs`` is the number of queries that the scenario's percentile takes.
    With ``prime`` each worker of ``server`` predicts once beforehand. ``checkpoint`` is called after each prediction,
    outside of its timing. Whatever ``predict`` raised is raised again once LoadGen has wound up.

    Raises:
        DataError: a query takes more samples than there are.
        StorageError: the logs can't be written.
    """
    if samples < spec.samples_per_query:
        raise DataError(
            f"a query of {spec.samples_per_query} samples is more than the {samples} that there are",
            hint="lower scenario.samples_per_query, or raise preprocessing.memory_mib where it is the bound",
        )
    settings = loadgen_settings(spec, expected_ns, batch_size, seeds)
    shown = f"measuring {spec.type}{at} (at most {spec.max_duration:g} s)"
    with progress.task(shown, total=None, unit="predictions") as advance:
        failure = Failure(hold=spec.type == "server" and spec.mode == "performance")
        serving: AbstractContextManager[None] = nullcontext()
        if spec.type == "server":
            # Drawing would keep the workers from answering, so the display stands still.
            recordings = [Recording(predict, stack, failure, None, checkpoint) for _ in range(spec.workers)]
            pool = Pool(samples, stack, spec.max_batch, round(spec.max_queue_delay * 1e9))
            system = pool.system(recordings)
            serving = pool.running(recordings, predict if prime else None)
        else:
            recordings = [Recording(predict, stack, failure, advance, checkpoint)]
            system = _system(spec, samples, batch_size, stack, recordings[0])
        with serving:
            if failure.error is None:
                with region, _interruptible(failure):
                    clock = _run(system, settings, spec.trace_log, log_directory)
    if failure.error is not None:
        raise failure.error
    return measurement_of(spec, recordings, batch_size, clock, tail_needs, log_directory)


def _system(spec: ScenarioSpec, samples: int, batch_size: int, stack: Stack, recording: Recording) -> System:
    if spec.type == "single_stream":
        return single_stream(samples, batch_size, stack, recording)
    if spec.type == "multi_stream":
        return multi_stream(samples, spec.samples_per_query, batch_size, stack, recording)
    return offline(samples, batch_size, recording)


def _run(system: System, settings: Any, trace: bool, log_directory: Path) -> Clock:
    with writing(log_directory):
        log_directory.mkdir(parents=True, exist_ok=True)
    logs = loadgen.LogSettings()
    logs.enable_trace = trace
    logs.log_output.outdir = str(log_directory)
    logs.log_output.copy_summary_to_stdout = False
    sut = loadgen.ConstructSUT(system.issue, system.flush)
    qsl = loadgen.ConstructQSL(system.library, system.library, system.load, _let_go)
    wall, monotonic = time.time_ns(), time.perf_counter_ns()
    try:
        loadgen.StartTestWithLogSettings(sut, qsl, settings, logs, "")
        return Clock(time.time_ns() - wall, time.perf_counter_ns() - monotonic)
    finally:
        loadgen.DestroyQSL(qsl)
        loadgen.DestroySUT(sut)


@contextmanager
def _interruptible(failure: Failure) -> Iterator[None]:
    """Ctrl-C ends the measurement as an error does: raised at any other place, it would kill LoadGen's threads.

    The second Ctrl-C acts as ever, for a model that doesn't come back. So does SIGTERM where it is handled like Ctrl-C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    usual = {signal.SIGINT: signal.getsignal(signal.SIGINT) or signal.default_int_handler}
    if signal.getsignal(signal.SIGTERM) is signal.default_int_handler:
        usual[signal.SIGTERM] = signal.default_int_handler

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        failure.error = failure.error or KeyboardInterrupt()
        restore()

    for number in usual:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def _let_go(indices: Sequence[int]) -> None:
    """The samples are let go with the measurement."""
