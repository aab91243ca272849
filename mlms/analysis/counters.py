"""Counters over a window, series by series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mlms.tracing.observations import Counter


def summarize_counters(counters: Sequence[Counter], window: tuple[int, int]) -> list[dict[str, Any]]:
    """The record's ``counters``: for each series its range and last value in ``window`` (from start to end, Unix ns).

    Of a sum these are its rates a second, from one sample to the next, and ``increase`` is what it rose by in the
    window, interpolated at its ends (null for a gauge). A series without a sample in the window is left out.
    """
    found = []
    for counter in counters:
        values = gauge_in(counter, window) if counter.kind == "gauge" else rates_in(counter, window)
        values = values[np.isfinite(values)]
        if len(values):
            found.append(
                {
                    "name": counter.name,
                    "unit": counter.unit,
                    "kind": counter.kind,
                    "attributes": dict(counter.attributes),
                    "samples": len(values),
                    "min": float(values.min()),
                    "median": float(np.median(values)),
                    "max": float(values.max()),
                    "last": float(values[-1]),
                    "increase": _increase(counter, window) if counter.kind == "sum" else None,
                }
            )
    return found


def gauge_in(counter: Counter, window: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The values that were sampled in the window."""
    return counter.value[(counter.time_ns >= window[0]) & (counter.time_ns <= window[1])]


def rates_in(counter: Counter, window: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Rates a second from one sample to the next, of the pairs whose time the window has a part of."""
    times = counter.time_ns
    part = (times[:-1] < window[1]) & (times[1:] > window[0]) & (np.diff(times) > 0)
    return np.diff(counter.value)[part] / np.diff(times)[part] * 1e9


def _increase(counter: Counter, window: tuple[int, int]) -> float:
    # Relative to the first sample: nanoseconds since 1970 are more than a float tells apart.
    begin = counter.time_ns[0]
    low, high = np.interp([window[0] - begin, window[1] - begin], counter.time_ns - begin, counter.value)
    return float(high - low)
