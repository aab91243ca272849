"""Bootstraps: how much a figure would vary if the same process were observed again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from mlms.analysis.intervals import CONFIDENCE, Interval, nearest_rank, student_quantile

RESAMPLES = 2000
_BLOCKS = 32
_OVERLAP = 4
_EXACT = 1024
_STEPS = 256

Floats = npt.NDArray[np.float64]
Seed = int | Sequence[int]


def block_length(count: int) -> int:
    """Values to a block: a 32nd of the series, or its cube root where that is longer.

    The cube root is the rate that suits short memory (Künsch, Ann. Statist. 17, 1989); machines also change over
    seconds, which longer blocks keep whole.
    """
    return max(1, round(count / _BLOCKS), round(math.pow(count, 1 / 3)))


def blocks(count: int) -> int:
    """How many blocks a series of ``count`` values has."""
    return -(-count // block_length(count))


@cache
def expanded(confidence: float, blocks: int) -> float:
    """The share of the resamples to take between the ends of an interval, so that it has ``confidence``, where two
    series of so many ``blocks`` each are set against one another.

    The plain percentile interval is that of a normal distribution whose variance is known; few blocks know it badly
    and give it too small by (n - 1) / n (Hesterberg, "What Teachers Should Know About the Bootstrap", Am. Stat. 69,
    2015: the expanded percentile interval).

    >>> [round(expanded(0.95, blocks), 3) for blocks in (16, 32, 1000)]
    [0.965, 0.958, 0.95]
    """
    if blocks < 2:
        return 1.0
    reach = student_quantile(2 * (blocks - 1), confidence) * math.sqrt(blocks / (blocks - 1))
    return 2 * NormalDist().cdf(reach) - 1


def effective_size(values: npt.NDArray[np.integer | np.floating]) -> float:
    """How many of the values the variance rests on: the square of the sum of squared deviations by that of their fourth
    powers, which is the number of values by their kurtosis.

    With a few stalls of ten times the rest it is hardly more than the number of stalls.

    >>> effective_size(np.array([1, 2] * 50)), round(effective_size(np.array([1] * 99 + [1000])), 1)
    (100.0, 1.0)
    """
    squares = (values - values.mean()) ** 2
    total = float((squares**2).sum())
    return float(squares.sum()) ** 2 / total if total > 0 else float(len(values))


def block_weights(count: int, seed: Seed, resamples: int = RESAMPLES) -> tuple[npt.NDArray[np.int64], int, Floats]:
    """A moving-block bootstrap (Künsch 1989) of ``count`` values: starts of blocks, their length, and how often each
    resample takes each block, shape (resamples, blocks). Starts lie a quarter of a block apart.
    """
    length = block_length(count)
    taken = blocks(count)
    starts = np.unique(np.linspace(0, count - length, min(count - length + 1, _OVERLAP * taken)).astype(np.int64))
    # Blocks drawn one by one and counted: a hundredth of the time that multinomial numbers take.
    drawn = np.random.default_rng(seed).integers(0, len(starts), (resamples, taken))
    cells = (drawn + np.arange(resamples)[:, None] * len(starts)).ravel()
    weights = np.bincount(cells, minlength=resamples * len(starts)).reshape(resamples, len(starts))
    return starts, length, weights.astype(np.float64)


def block_quantiles(
    series: npt.NDArray[np.integer | np.floating], levels: Sequence[float], seed: Seed, resamples: int = RESAMPLES
) -> Floats:
    """Quantiles of each resample of a series in order of time, shape (resamples, levels); levels in (0, 1).

    Resamples are told apart on a grid of the series' values: all of them up to 1,024, else those of ``_ranks``.
    """
    count = len(series)
    starts, length, weights = block_weights(count, seed, resamples)
    ordered = np.sort(series).astype(np.float64)
    grid = np.unique(ordered if count <= _EXACT else ordered[_ranks(count, levels)])
    places = np.searchsorted(grid, series)
    counts = np.stack([np.bincount(places[start : start + length], minlength=len(grid)) for start in starts])
    # How many values of each resample are within each value of the grid; whole numbers, exact in single precision.
    within = weights.astype(np.float32) @ np.cumsum(counts, axis=1, dtype=np.float32)
    total = float(within[0, -1])
    return np.stack([grid[np.count_nonzero(within < level * total - 1e-6, axis=1)] for level in levels], axis=1)


def _ranks(count: int, levels: Sequence[float]) -> npt.NDArray[np.int64]:
    """Places of an ascending series where resamples' quantiles are looked for: each level's own, and ever sparser ones
    to both sides, a 30th of their distance apart.

    A resample's quantile lies some standard errors of a rank away, more where neighbours are alike, so the places are
    spaced by the hyperbolic sine of that error: always finer than what the quantiles vary by, however long the series.
    """
    found = [np.array([count - 1.0])]
    for level in levels:
        error = math.sqrt(level * (1 - level) * count)
        reach = math.asinh(count / error)
        found.append(nearest_rank(level, count) - 1 + error * np.sinh(np.linspace(-reach, reach, 2 * _STEPS + 1)))
    return np.unique(np.clip(np.rint(np.concatenate(found)), 0, count - 1).astype(np.int64))


def block_rates(
    amounts: npt.NDArray[np.integer], times: npt.NDArray[np.integer], seed: Seed, resamples: int = RESAMPLES
) -> Floats:
    """Total amount over total time of each resample, shape (resamples,); both series in order of time."""
    starts, length, weights = block_weights(len(times), seed, resamples)
    sums = [
        np.diff(
            np.concatenate([[0.0], np.cumsum(series, dtype=np.float64)])[np.stack([starts, starts + length])], axis=0
        )[0]
        for series in (amounts, times)
    ]
    done: Floats = (weights @ sums[0]) / np.maximum(weights @ sums[1], 1.0)
    return done


def paired_mean_interval(
    differences: npt.NDArray[np.floating], seed: Seed = 0, confidence: float = CONFIDENCE, resamples: int = 2000
) -> Interval:
    """Interval of the mean of differences, one a sample of the dataset: samples are drawn again, each with both runs'
    answers (percentile bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 13).
    """
    values, counts = np.unique(differences, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(differences), counts / len(differences), size=resamples)
    low, high = np.quantile(drawn @ values / len(differences), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), confidence, "bootstrap of paired samples")
