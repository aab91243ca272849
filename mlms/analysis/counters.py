"""Counters over a window, series by series."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlms.tracing import attributes

if TYPE_CHECKING:
    from mlms.tracing.observations import Counter


def summarize_counters(counters: Sequence[Counter], window: tuple[int, int]) -> list[dict[str, Any]]:
    """The record's ``counters``: for each series its range and last value in ``window`` (from start to end, Unix ns).

    Of a sum these are its rates a second, from one sample to the next, and ``increase`` is what it rose by in the
    window, interpolated at its ends (null for a gauge). Samples that are no finite numbers count as none. A series
    without a sample in the window, or with figures that a float can't hold, is left out.
    """
    found = []
    for counter in map(_known, counters):
        gauge = counter.kind == "gauge"
        values = gauge_in(counter, window) if gauge else rates_in(counter, window)
        if not len(values):
            continue
        with np.errstate(over="ignore"):
            figures = {
                "min": float(values.min()),
                "median": float(np.median(values)),
                "max": float(values.max()),
                "last": float(values[-1]),
                "increase": None if gauge else _increase(counter, window),
            }
        if all(figure is None or math.isfinite(figure) for figure in figures.values()):
            about = {"name": counter.name, "unit": counter.unit, "kind": counter.kind}
            plain = json.loads(attributes.dumps(counter.attributes))
            found.append({**about, "attributes": plain, "samples": len(values), **figures})
    return found


def _known(counter: Counter) -> Counter:
    """The same without samples that are no finite numbers, which no record can hold."""
    finite = np.isfinite(counter.value)
    if finite.all():
        return counter
    return replace(counter, time_ns=counter.time_ns[finite], value=counter.value[finite])


def gauge_in(counter: Counter, window: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The values that were sampled in the window."""
    return counter.value[(counter.time_ns >= window[0]) & (counter.time_ns <= window[1])]


def rates_in(counter: Counter, window: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Rates a second from one sample to the next, of the pairs whose time the window has a part of."""
    times = counter.time_ns
    part = (times[:-1] < window[1]) & (times[1:] > window[0]) & (np.diff(times) > 0)
    with np.errstate(over="ignore"):
        return np.diff(counter.value)[part] / np.diff(times)[part] * 1e9


def _increase(counter: Counter, window: tuple[int, int]) -> float:
    # Relative to the first sample: nanoseconds since 1970 are more than a float tells apart.
    begin = counter.time_ns[0]
    low, high = np.interp([window[0] - begin, window[1] - begin], counter.time_ns - begin, counter.value)
    return float(high - low)
