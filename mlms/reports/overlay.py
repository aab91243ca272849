"""Several runs in one chart: distributions over one another, and accuracy against latency.

Geometry as in ``charts``: paths in a plot of 1000 by 1000, ticks in percent. numpy is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlms.reports.axes import Axis, Tick

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PLOT = 1000
STEPS = 300
LOG_FROM = 10.0
HEADROOM = 0.08


@dataclass(frozen=True, slots=True)
class Curves:
    """The share of queries within a latency, one path a run; None for a run without a curve."""

    paths: Sequence[str | None]
    x: Sequence[Tick]
    y: Sequence[Tick]
    beyond_ns: float


@dataclass(frozen=True, slots=True)
class Point:
    """A run in the trade-off chart: percent from the left and from the bottom, and its number among the runs."""

    x: float
    y: float
    number: int


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Median latency on x, the accuracy ``metric`` on y."""

    points: Sequence[Point]
    x: Sequence[Tick]
    y: Sequence[Tick]
    metric: str
    log: bool


def distributions(series: Sequence[npt.NDArray[np.int64] | None]) -> Curves | None:
    """Cumulative distributions of latencies (ns), drawn up to 1.2 times the largest 99th percentile.

    A run that is None or has fewer than two queries has no curve; None with fewer than two curves.
    """
    import numpy as np

    usable = [None if values is None or len(values) < 2 else np.sort(values).astype(np.float64) for values in series]
    drawn = [values for values in usable if values is not None]
    if len(drawn) < 2:
        return None
    low = min(float(values[0]) for values in drawn)
    limit = min(max(float(values[-1]) for values in drawn), 1.2 * max(float(np.quantile(v, 0.99)) for v in drawn))
    margin = max((limit - low) * 0.02, 1.0)
    x, y = Axis(max(0.0, low - margin), limit + margin), Axis(0.0, 1.0)
    shares = np.linspace(0, 1, STEPS)

    def path(values: npt.NDArray[np.float64]) -> str:
        points = [(at, share) for at, share in zip(np.quantile(values, shares), shares, strict=True) if at <= x.high]
        return "M" + "L".join(f"{10 * x.position(at):.1f} {PLOT - 10 * y.position(share):.1f}" for at, share in points)

    ticks = [Tick(100 * share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)]
    return Curves([None if v is None else path(v) for v in usable], x.duration_ticks(), ticks, x.high)


def tradeoff(subjects: Sequence[Mapping[str, Any]], metric: str | None) -> Tradeoff | None:
    """Accuracy against median latency of the subjects that have both; None for fewer than two of them."""
    found = [
        (number, subject["figures"]["latency.p50"], subject["figures"][metric])
        for number, subject in enumerate(subjects)
        if metric is not None and {"latency.p50", metric} <= subject["figures"].keys()
    ]
    if metric is None or len(found) < 2:
        return None
    fastest, slowest = min(entry[1] for entry in found), max(entry[1] for entry in found)
    log = slowest > LOG_FROM * fastest
    x = Axis(fastest / 1.3, slowest * 1.3, log=True) if log else _around(fastest, slowest, 0.0)
    y = _around(min(entry[2] for entry in found), max(entry[2] for entry in found))
    points = [Point(round(x.position(at), 2), round(y.position(value), 2), number) for number, at, value in found]
    return Tradeoff(points, x.duration_ticks(), [Tick(y.position(v), f"{v:.6g}") for v in y.values(4)], metric, log)


def _around(low: float, high: float, least: float = -math.inf) -> Axis:
    """A linear axis with room on both sides."""
    room = max((high - low) * HEADROOM * 2, abs(high) * 0.001, 1e-6)
    return Axis(max(least, low - room), high + room)
