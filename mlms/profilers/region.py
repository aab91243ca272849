"""The measured region: what happened to the process and the machine in it, besides the measurement."""

from __future__ import annotations

from time import perf_counter_ns

from mlms.profilers.collection import Collection
from mlms.profilers.usage import Usage, usage
from mlms.runs.hygiene import Throttling, throttling


class MeasuredRegion:
    """A context to measure in. The figures are there when it is closed; ``start_ns`` as of ``perf_counter_ns``.

    What is ``used`` is this process's share, and that of ``worker`` (a process id) where the model runs in one.
    """

    def __init__(self, gc_mode: str, worker: int | None = None) -> None:
        self._worker = worker
        self.collection = Collection(gc_mode)
        self.start_ns = self.end_ns = 0
        self.used = Usage(0.0, 0, 0)
        self.throttled_before = self.throttled_after = Throttling(None, None)

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def __enter__(self) -> MeasuredRegion:
        self.throttled_before = throttling()
        self.collection.__enter__()
        self._before = usage(self._worker)
        self.start_ns = perf_counter_ns()
        return self

    def __exit__(self, *failure: object) -> None:
        self.end_ns = perf_counter_ns()
        self.used = usage(self._worker).since(self._before)
        self.collection.__exit__()
        self.throttled_after = throttling()
