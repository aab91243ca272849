"""Latency series of known distributions, in ns: lognormal noise with memory, and what may befall it."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MEDIAN_NS = 8_000_000
SHARE_OF_STALLS = 0.005
STALL = 10.0
SLOWER_MODE = 1.5
SPREAD = 0.07
DRIFT = 0.15


def fixed(
    random: np.random.Generator,
    queries: int = 1250,
    spread: float = SPREAD,
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


def drifting(series: npt.NDArray[np.int64], change: float = DRIFT) -> npt.NDArray[np.int64]:
    return integers(series * np.linspace(1.0, 1.0 + change, len(series)))


def bimodal(random: np.random.Generator, series: npt.NDArray[np.int64], share: float = 0.3) -> npt.NDArray[np.int64]:
    return integers(series * np.where(random.random(len(series)) < share, SLOWER_MODE, 1.0))


def known(distribution: str, random: np.random.Generator, median: float = MEDIAN_NS) -> npt.NDArray[np.int64]:
    """A series of one of the four kinds, without memory; ``true_percentile`` says what its percentiles are."""
    series = fixed(random, spread=SPREAD, memory=0.0, median=median)
    if distribution == "stalls":
        return with_stalls(random, series)
    if distribution == "bimodal":
        return bimodal(random, series)
    return drifting(series, DRIFT) if distribution == "drifting" else series


@cache
def true_percentile(distribution: str, percentile: float, drifted: float = 1.0) -> float:
    """The percentile (ns) of what ``known`` draws from, by its distribution function: a mixture of lognormals around
    the median times some factors. A drift is a mixture of many, as far as the series was ``drifted`` through.
    """
    normal = NormalDist(0, SPREAD)
    parts = {
        "fixed": [(1.0, 1.0)],
        "stalls": [(1 - SHARE_OF_STALLS, 1.0), (SHARE_OF_STALLS, STALL)],
        "bimodal": [(0.7, 1.0), (0.3, SLOWER_MODE)],
        "drifting": [(0.01, 1 + DRIFT * drifted * (step + 0.5) / 100) for step in range(100)],
    }[distribution]
    low, high = -1.0, 4.0
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(share * normal.cdf(middle - math.log(factor)) for share, factor in parts)
        low, high = (middle, high) if below < percentile / 100 else (low, middle)
    return MEDIAN_NS * math.exp(low)


def integers(values: Floats) -> npt.NDArray[np.int64]:
    return np.rint(values).astype(np.int64)
