"""Latency series of known distributions, in ns: lognormal noise with memory, and what may befall it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MEDIAN_NS = 8_000_000
SHARE_OF_STALLS = 0.005
STALL = 10.0
SLOWER_MODE = 1.5


def fixed(
    random: np.random.Generator,
    queries: int = 1250,
    spread: float = 0.07,
    memory: float = 0.4,
    median: float = MEDIAN_NS,
) -> npt.NDArray[np.int64]:
    """A fixed distribution: lognormal around ``median``; neighbours correlate by ``memory`` (AR(1) of the logarithms).

    1,250 queries of 8 ms are what the default rules of ``single_stream`` (10 s and 1,024 queries) give.
    """
    return integers(median * noise(random, queries, spread, memory))


def noise(random: np.random.Generator, queries: int, spread: float, memory: float) -> Floats:
    kernel = memory ** np.arange(1 if memory == 0 else math.ceil(math.log(1e-6) / math.log(memory)))
    steps = random.standard_normal(queries + len(kernel) - 1) * math.sqrt(1 - memory**2)
    made: Floats = np.exp(spread * np.convolve(steps, kernel, "valid"))
    return made


def with_stalls(random: np.random.Generator, series: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return integers(series * np.where(random.random(len(series)) < SHARE_OF_STALLS, STALL, 1.0))


def drifting(series: npt.NDArray[np.int64], change: float = 0.15) -> npt.NDArray[np.int64]:
    return integers(series * np.linspace(1.0, 1.0 + change, len(series)))


def bimodal(random: np.random.Generator, series: npt.NDArray[np.int64], share: float = 0.3) -> npt.NDArray[np.int64]:
    return integers(series * np.where(random.random(len(series)) < share, SLOWER_MODE, 1.0))


def integers(values: Floats) -> npt.NDArray[np.int64]:
    return np.rint(values).astype(np.int64)
