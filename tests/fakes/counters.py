"""Counters with samples a tenth of a second apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mlms.tracing.observations import Counter

START_NS = 1_795_000_000_000_000_000
STEP_NS = 100_000_000


def counter(
    name: str, values: Sequence[float], kind: Literal["gauge", "sum"] = "gauge", unit: str = "1", **attributes: Any
) -> Counter:
    times = START_NS + STEP_NS * np.arange(len(values))
    return Counter(name, unit, kind, times, np.array(values, np.float64), attributes)


def at(seconds: float) -> int:
    """An instant, in seconds since the first sample, as Unix ns."""
    return START_NS + round(seconds * 1e9)
