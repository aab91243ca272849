"""Wall-clock time for durations: ``time.perf_counter_ns()`` placed in Unix time by one anchor per process.

The wall clock may be set while a run goes on; the performance counter never jumps. So the wall clock is read once, and
every later instant is that reading plus a difference of counters.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Nanoseconds = TypeVar("Nanoseconds", int, npt.NDArray[np.int64])

_READINGS = 16


@dataclass(frozen=True, slots=True)
class Anchor:
    """``offset_ns`` is Unix time (ns) minus the performance counter (ns), in this process."""

    offset_ns: int

    @classmethod
    def take(cls) -> Anchor:
        """Read both clocks, several times, and keep the pair that was read with the least time in between."""
        readings = []
        for _ in range(_READINGS):
            before = time.perf_counter_ns()
            wall = time.time_ns()
            after = time.perf_counter_ns()
            readings.append((after - before, wall - (before + after) // 2))
        return cls(min(readings)[1])

    def unix_ns(self, perf_counter_ns: Nanoseconds) -> Nanoseconds:
        """Unix time of a reading, or of an int64 array of readings, of ``time.perf_counter_ns()``."""
        return perf_counter_ns + self.offset_ns


@cache
def anchor() -> Anchor:
    """The process's one anchor, taken at the first call."""
    return Anchor.take()


def unix_ns(perf_counter_ns: Nanoseconds) -> Nanoseconds:
    """Unix time (ns) of readings of ``time.perf_counter_ns()`` made in this process."""
    return anchor().unix_ns(perf_counter_ns)


def now() -> int:
    """This instant in Unix time (ns)."""
    return unix_ns(time.perf_counter_ns())
