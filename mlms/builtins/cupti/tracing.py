"""The profiler ``cupti``: what ran on the GPU during the predictions, and which layer launched it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from mlms.builtins.cupti.available import pycupti_or_note
from mlms.tracing.recorder import Correlation, Recorder

NAME = "cupti"


class CuptiTracing:
    """Traces kernels, copies, memsets and CUDA calls with pycupti, whose threads decode beside the predictions."""

    level: str = "library"
    devices: str = "cuda"

    @contextmanager
    def attach(self, recorder: Recorder) -> Iterator[None]:
        """Have each recorded span's key open on its thread, so that what it launches becomes its child.

        Where nothing can be traced, because pycupti, a driver or libcupti is missing or another tool holds CUPTI, a
        note says so and that is all.
        """
        pycupti = pycupti_or_note(recorder, NAME)
        tracer = _started(pycupti, recorder) if pycupti is not None else None
        if pycupti is None or tracer is None:
            yield
            return
        recorder.correlation = Correlation(tracer.push, tracer.pop)
        try:
            yield
        finally:
            recorder.correlation = None
            _finish(pycupti, tracer, recorder)


def _started(pycupti: ModuleType, recorder: Recorder) -> Any:
    # A graph's kernels belong to the prediction that launches it, not to the one that captured it. CUPTI is detached at
    # the end, or every later launch of this process would cost more than it did before.
    Kind = pycupti.Kind
    kinds = (Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET, Kind.PEER_COPY, Kind.DRIVER)
    tracer = pycupti.Tracer(kinds, graph_nodes=False, finalize=pycupti.probe().finalizable)
    try:
        tracer.start()
    except pycupti.PycuptiError as error:
        recorder.notes.append(f"{NAME}: off: {error}")
        return None
    return tracer


def _finish(pycupti: ModuleType, tracer: Any, recorder: Recorder) -> None:
    from mlms.builtins.cupti.activities import activities

    try:
        if not tracer.flush():
            recorder.notes.append(f"{NAME}: CUPTI kept some of its records for longer than the flush waits")
        tracer.stop()
    except pycupti.PycuptiError as error:
        recorder.notes.append(f"{NAME}: the trace may lack its end: {error}")
    recorder.activities.extend(activities(tracer.drain(), tracer.call_name))
    recorder.notes.extend(_losses(tracer.stats))


def _losses(stats: Any) -> Iterator[str]:
    if stats.dropped:
        yield f"{NAME}: CUPTI dropped {stats.dropped} records; buffers refused to it: {stats.rejected}"
    if stats.calls_dropped or stats.out_of_memory:
        lost = stats.calls_dropped + stats.out_of_memory
        yield f"{NAME}: {lost} calls or records were lost for want of memory"
    if stats.bad_timestamps:
        yield f"{NAME}: {stats.bad_timestamps} records came without times and were left out"
    if stats.truncated:
        yield f"{NAME}: {stats.truncated} buffers of records ended within one"
