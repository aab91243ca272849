"""Whether a measured series stays as it is: steady, drifting, of two modes, or not steady otherwise.

Every rule asks for an effect worth mentioning besides significance, and looks at medians of windows or at the bulk of
the distribution: neither noise between neighbours nor rare stalls make a series drift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mlms.analysis.intervals import quantile_interval

Label = Literal["steady", "not steady", "drifting", "bimodal", "unknown"]
Floats = npt.NDArray[np.float64]

FEWEST = 100
"""Queries below which nothing is said."""
WINDOWS = 10
STABLE_RATIO = 1.10
DRIFT_SHARE = 0.05
DRIFT_SIGNIFICANCE = 0.005
MODE_SHARE = 0.05
MODE_DISTANCE = 0.05
VALLEY = 0.5
BANDWIDTH = 0.7
METHOD = (
    f"{WINDOWS} windows: Mann-Kendall trend of medians at p < {DRIFT_SIGNIFICANCE:g} with a Theil-Sen change of at "
    f"least {DRIFT_SHARE:.0%}; kernel density with a valley at most {VALLEY:.0%} as high as the lower mode; medians "
    f"within {STABLE_RATIO:.2f} of one another"
)


@dataclass(frozen=True, slots=True)
class Trend:
    """``change`` over the whole series as a share of its median; ``p`` of there being none."""

    change: float
    p: float


@dataclass(frozen=True, slots=True)
class Modes:
    """The two largest modes (in the unit of the series, ``low`` < ``high``), how much of it lies above the valley
    between them, and the valley's density as a share of the lower mode's."""

    low: float
    high: float
    share_high: float
    valley: float


@dataclass(frozen=True, slots=True)
class Steadiness:
    """``reasons`` say in figures why the label isn't "steady"; there are none when it is."""

    label: Label
    reasons: tuple[str, ...] = ()
    method: str = METHOD

    def as_data(self) -> Mapping[str, Any]:
        return {**asdict(self), "reasons": list(self.reasons)}


def steadiness(series: npt.NDArray[np.integer | np.floating]) -> Steadiness:
    """Label a series in order of time (shape (queries,), positive). The first that applies:

    - unknown: fewer than ``FEWEST`` values;
    - drifting: the windows' medians have a trend (``trend``);
    - bimodal: the distribution has two separate modes (``modes``);
    - not steady: the medians of two windows differ by more than ``STABLE_RATIO`` beyond their intervals, the rule of
      NVIDIA's perf_analyzer (its stability window of 10%);
    - steady.
    """
    if len(series) < FEWEST:
        return Steadiness("unknown", (f"{len(series)} of at least {FEWEST} queries",))
    values = np.maximum(series.astype(np.float64), 1.0)  # a clock may be too coarse to see a query at all
    windows = np.array_split(values, WINDOWS)
    medians = np.array([np.median(window) for window in windows])
    reasons = []
    label: Label = "steady"
    found = trend(medians)
    if found.p < DRIFT_SIGNIFICANCE and abs(found.change) >= DRIFT_SHARE:
        label = "drifting"
        way = "slower" if found.change > 0 else "faster"
        reasons.append(f"latency gets {abs(found.change):.0%} {way} from start to end (trend, p = {found.p:.1g})")
    two = modes(values)
    if two is not None and label == "steady":
        label = "bimodal"
        reasons.append(
            f"two modes, {two.high / two.low:.2f}x apart: {1 - two.share_high:.0%} of the queries around the faster, "
            f"{two.share_high:.0%} around the slower"
        )
    intervals = [quantile_interval(window, 0.5) for window in windows]
    slowest, fastest = int(np.argmax(medians)), int(np.argmin(medians))
    if label == "steady" and intervals[slowest].low > STABLE_RATIO * intervals[fastest].high:
        label = "not steady"
        reasons.append(
            f"the median of tenth {slowest + 1} of the run is {medians[slowest] / medians[fastest]:.2f}x that of tenth "
            f"{fastest + 1} (at most {STABLE_RATIO:.2f}x is steady)"
        )
    return Steadiness(label, tuple(reasons))


def trend(medians: Floats) -> Trend:
    """Monotone trend of the medians of consecutive windows.

    Significance by Mann and Kendall's test (Mann, Econometrica 13, 1945; normal approximation with correction for
    continuity and ties), which no single window can sway; size by Theil and Sen's slope (Sen, J. Am. Stat. Assoc. 63,
    1968). Windows are long enough to be nearly independent where single queries aren't.
    """
    count = len(medians)
    first, second = np.triu_indices(count, 1)
    rises = medians[second] - medians[first]
    score = float(np.sign(rises).sum())
    _, ties = np.unique(medians, return_counts=True)
    variance = (count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = max(0.0, abs(score) - 1) / math.sqrt(variance) if variance > 0 else 0.0
    slope = float(np.median(rises / (second - first)))
    return Trend(slope * (count - 1) / float(np.median(medians)), math.erfc(z / math.sqrt(2)))


def modes(series: Floats) -> Modes | None:
    """The two modes of a distribution (of positive values) that has them, else None.

    A Gaussian kernel density of the logarithms (bandwidth by Silverman's rule of thumb, Density Estimation, 1986, 3.31,
    with ``BANDWIDTH`` for its 0.9, which suits one mode and smooths two away; at least 1%) is searched for the deepest
    valley. There are two modes where the valley is at most ``VALLEY`` as high as the lower of them, each side holds at
    least ``MODE_SHARE`` of the series, and the modes are ``MODE_DISTANCE`` apart.
    """
    logs = np.log(series)
    low, first, third, high = np.quantile(logs, [0.001, 0.25, 0.75, 0.999])
    spread = min(float(logs.std()), float(third - first) / 1.34) or float(logs.std())
    width = max(BANDWIDTH * spread * len(logs) ** -0.2, 0.01)
    bins = min(4096, max(64, math.ceil((high - low + 6 * width) / (width / 8))))
    counts, edges = np.histogram(logs, bins=bins, range=(low - 3 * width, high + 3 * width))
    step = float(edges[1] - edges[0])
    reach = math.ceil(4 * width / step)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    density = np.convolve(counts, kernel)[reach:-reach]
    # The highest density up to each place and from each place on; a valley is low against both.
    left, right = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    above = 1 - np.cumsum(counts) / len(logs)
    inside = (above >= MODE_SHARE) & (above <= 1 - MODE_SHARE)
    depth = np.where(inside, density / np.maximum(np.minimum(left, right), 1e-300), 1.0)
    valley = int(np.argmin(depth))
    peaks = int(np.argmax(density[: valley + 1])), valley + int(np.argmax(density[valley:]))
    if depth[valley] > VALLEY or (peaks[1] - peaks[0]) * step < math.log1p(MODE_DISTANCE):
        return None
    lower, higher = (math.exp(edges[peak] + step / 2) for peak in peaks)
    return Modes(lower, higher, float(above[valley]), float(depth[valley]))
