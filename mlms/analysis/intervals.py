"""Intervals of confidence: what a figure could as well have been."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
_BATCHES = 32
_ANGLES = 20_001


def nearest_rank(level: float, count: int) -> int:
    """The rank, from 1, of the smallest of ``count`` values that at least a share ``level`` of them stays within.

    Rounded first, because a level such as 99.9 % has no binary fraction of its own.

    >>> nearest_rank(99.9 / 100, 10_000), nearest_rank(0.5, 11)
    (9990, 6)
    """
    return max(1, math.ceil(round(level * count, 6)))


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``low`` to ``high``, in the unit of the figure; ``method`` names how it was found."""

    low: float
    high: float
    confidence: float
    method: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def wilson(successes: float, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Interval of a proportion (0 to 1): Wilson's score interval (J. Am. Stat. Assoc. 22, 1927).

    It keeps its rate near 0 and 1 and with few trials, where the textbook's normal interval doesn't (Brown, Cai and
    DasGupta, Statist. Sci. 16, 2001).

    >>> found = wilson(90, 100)
    >>> round(found.low, 4), round(found.high, 4)
    (0.8256, 0.9448)
    """
    z = _normal_quantile(confidence)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Interval(max(0.0, centre - half), min(1.0, centre + half), confidence, "Wilson score")


def newcombe(base: tuple[float, int], other: tuple[float, int], confidence: float = CONFIDENCE) -> Interval:
    """Interval of other minus base for two independent proportions, each (proportion, trials).

    Newcombe's hybrid of two Wilson intervals (Statist. Med. 17, 1998, method 10).
    """
    one, two = (wilson(share * trials, trials, confidence) for share, trials in (base, other))
    difference = other[0] - base[0]
    low = difference - math.hypot(other[0] - two.low, one.high - base[0])
    high = difference + math.hypot(two.high - other[0], base[0] - one.low)
    return Interval(low, high, confidence, "Newcombe, samples unpaired")


def quantile_interval(
    series: npt.NDArray[np.integer | np.floating], level: float, confidence: float = CONFIDENCE
) -> Interval:
    """Interval of a quantile (``level`` in (0, 1)) of a series in order of time, without assuming a distribution.

    Two order statistics, as for independent values (Hahn and Meeker, Statistical Intervals, 1991, 5.2), taken further
    apart where neighbours are alike: the variance of the share of values below the quantile comes from the means of
    batches (Heidelberger and Lewis, Oper. Res. 32, 1984).
    """
    count = len(series)
    ordered = np.sort(series)
    below = series <= ordered[nearest_rank(level, count) - 1]
    inflation = 1.0
    size = count // _BATCHES
    if size > 1:
        means = below[: size * _BATCHES].reshape(_BATCHES, size).mean(axis=1)
        inflation = max(1.0, float(means.var(ddof=1)) * size / (level * (1 - level)))
    half = _normal_quantile(confidence) * math.sqrt(level * (1 - level) * inflation * count)
    low = max(0, math.floor(level * count - half) - 1)
    high = min(count - 1, math.ceil(level * count + half))
    return Interval(float(ordered[low]), float(ordered[high]), confidence, "order statistics, batch means")


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Student's interval of the mean of independent values, such as one figure from each of several repeats."""
    array = np.asarray(values, dtype=np.float64)
    half = student_quantile(len(array) - 1, confidence) * float(array.std(ddof=1)) / math.sqrt(len(array))
    mean = float(array.mean())
    return Interval(mean - half, mean + half, confidence, f"Student's t over {len(array)} repeats")


def welch_ratio(base: Sequence[float], other: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Interval of the ratio other / base of two groups' geometric means; one positive value a repeat, at least two.

    Welch's t interval of the difference of the logarithms (Biometrika 34, 1947).
    """
    logs = [np.log(np.asarray(group, dtype=np.float64)) for group in (base, other)]
    errors = [float(group.var(ddof=1)) / len(group) for group in logs]
    difference = float(logs[1].mean() - logs[0].mean())
    total = sum(errors)
    half = 0.0
    if total > 0:
        freedom = total**2 / sum(e**2 / (len(g) - 1) for e, g in zip(errors, logs, strict=True))
        half = student_quantile(freedom, confidence) * math.sqrt(total)
    method = f"Welch's t over {len(base)} and {len(other)} repeats"
    return Interval(math.exp(difference - half), math.exp(difference + half), confidence, method)


def student_quantile(freedom: float, confidence: float) -> float:
    """The t that holds ``confidence`` of Student's distribution between -t and t; ``freedom`` at least 1.

    By the angle atan(t / sqrt(freedom)), whose density is proportional to cos^(freedom - 1).

    >>> [round(student_quantile(freedom, 0.95), 3) for freedom in (1, 2, 4, 30)]
    [12.706, 4.303, 2.776, 2.042]
    """
    angles = np.linspace(0, math.pi / 2, _ANGLES)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(confidence, mass / mass[-1], angles))
    return math.sqrt(freedom) * math.tan(angle)


def _normal_quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
