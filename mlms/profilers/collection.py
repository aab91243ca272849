"""Python's garbage collector, kept out of a measurement or timed within it."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any


class Collection:
    """While its context is open, the collector is off and all there was is frozen, unless ``mode`` is "enabled".

    ``pauses`` are the collections that happened all the same, from start to end in ns of ``perf_counter_ns``.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.pauses: list[tuple[int, int]] = []
        self._was_enabled = True
        self._started = 0

    def __enter__(self) -> Collection:
        self._was_enabled = gc.isenabled()
        if self.mode == "disabled":
            gc.collect()
            gc.freeze()
            gc.disable()
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *failure: object) -> None:
        gc.callbacks.remove(self._note)
        if self.mode == "disabled":
            gc.unfreeze()
            if self._was_enabled:
                gc.enable()

    def describe(self) -> dict[str, Any]:
        """``mode``, ``collections``, ``paused_ns``."""
        paused = sum(end - start for start, end in self.pauses)
        return {"mode": self.mode, "collections": len(self.pauses), "paused_ns": paused}

    def _note(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._started = perf_counter_ns()
        else:
            self.pauses.append((self._started, perf_counter_ns()))
