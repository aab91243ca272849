"""Summary of a latency series, with percentiles only where the sample supports them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.analysis.intervals import nearest_rank, quantile_interval
from mlms.analysis.steadiness import steadiness

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
CONFIDENCE = 0.99


@cache
def queries_needed(percentile: float, confidence: float = CONFIDENCE) -> int:
    """The fewest queries that support a percentile at the confidence.

    MLPerf's early-stopping rule (``inference_rules``, "Early Stopping"): with t = 1 of the h + t queries allowed over
    the bound, the smallest n whose binomial probability of at most one such query is within ``1 - confidence``.

    >>> [queries_needed(p) for p in (50, 90, 95, 99, 99.9)]
    [11, 64, 130, 662, 6636]
    """
    if not 0 < percentile < 100:
        raise ValueError(f"a percentile lies between 0 and 100, not {percentile}")
    under = percentile / 100

    def tail(queries: int) -> float:
        """Probability of at most one of ``queries`` being over a bound that each is under with ``under``."""
        return under**queries + queries * (1 - under) * under ** (queries - 1)

    low, high = 1, 2
    while tail(high) > 1 - confidence:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if tail(middle) > 1 - confidence else (low, middle)
    return high


def early_stopping_bound(
    ordered_ns: npt.NDArray[np.int64], percentile: float, confidence: float = CONFIDENCE
) -> int | None:
    """The latency that the percentile stays within at the confidence; None where the sample is too small for one.

    MLPerf's early-stopping estimate (``inference_rules``, "Early Stopping", tolerance 0): of n queries, h within the
    bound and t over it suffice when I(p; h, t + 1) <= 1 - confidence, I the regularised incomplete beta function, which
    is the binomial probability of at most t of n queries being over the percentile. With the largest such t, the t - 1
    highest latencies are dropped and the highest of the rest is the bound. ``ordered_ns`` ascends.
    """
    count = len(ordered_ns)
    under, over = percentile / 100, 1 - percentile / 100
    if count < queries_needed(percentile, confidence):
        return None
    most = min(count - 1, math.ceil(count * over))  # above its mean the probability is far beyond 1 - confidence
    fails = np.arange(1, most + 1)
    logs = np.log((count - fails + 1) / fails) + math.log(over / under)
    at_most = np.cumsum(np.exp(count * math.log(under) + np.concatenate([[0.0], np.cumsum(logs)])))
    allowed = int(np.searchsorted(at_most, 1 - confidence, side="right")) - 1
    return int(ordered_ns[count - allowed])


def outliers(ordered_ns: npt.NDArray[np.int64]) -> Mapping[str, Any] | None:
    """Latencies beyond Q3 + 3 IQR: Tukey's outer fence (Exploratory Data Analysis, 1977). Counted, never dropped."""
    if not len(ordered_ns):
        return None
    first, third = np.quantile(ordered_ns, [0.25, 0.75])
    threshold = float(third + 3 * (third - first))
    count = int(len(ordered_ns) - np.searchsorted(ordered_ns, threshold, side="right"))
    return {"count": count, "threshold_ns": threshold, "share": count / len(ordered_ns)}


def summarize(
    latencies_ns: npt.NDArray[np.int64],
    percentiles: Sequence[float] = PERCENTILES,
    official: Mapping[float, int] | None = None,
    bounds: Mapping[float, int] | None = None,
) -> dict[str, Any]:
    """Summarise latencies (ns, shape (queries,), in order of time) as the record's ``latency`` holds them.

    A percentile's ``value`` is LoadGen's own where ``official`` has it, else the nearest-rank one: the smallest latency
    that at least that share of the queries stays within. It is None where fewer than ``needed`` queries were made.
    ``bound`` is MLPerf's, at 99%, and LoadGen's own where ``bounds`` has it; ``interval`` holds the percentile at 95%.
    Where LoadGen's clock gives a query of that rank another latency than the series, both are moved by as much.
    """
    ordered = np.sort(latencies_ns)
    count = len(ordered)
    mean = float(ordered.mean()) if count else None
    stdev = float(ordered.std(ddof=1)) if count > 1 else None
    return {
        "unit": "ns",
        "queries": count,
        "mean": mean,
        "min": int(ordered[0]) if count else None,
        "max": int(ordered[-1]) if count else None,
        "stdev": stdev,
        "cv": stdev / mean if stdev is not None and mean else None,
        "outliers": outliers(ordered),
        "steadiness": steadiness(latencies_ns).as_data(),
        "percentiles": [
            _percentile(
                latencies_ns, ordered, percentile, (official or {}).get(percentile), (bounds or {}).get(percentile)
            )
            for percentile in percentiles
        ],
    }


def _loadgen_place(percentile: float, count: int) -> int:
    """Which of ``count`` ascending latencies LoadGen takes for a percentile (``loadgen/results.cc``): one beyond the
    nearest rank where the share of the queries is whole."""
    return min(count - 1, int(count * round(percentile / 100, 6)))


def _percentile(
    series: npt.NDArray[np.int64],
    ordered: npt.NDArray[np.int64],
    percentile: float,
    official: int | None,
    official_bound: int | None,
) -> dict[str, Any]:
    needed = queries_needed(percentile)
    if len(ordered) < needed:
        return {"percentile": percentile, "value": None, "needed": needed, "bound": None, "interval": None}
    own = int(ordered[nearest_rank(percentile / 100, len(ordered)) - 1])
    moved = 0 if official is None else official - int(ordered[_loadgen_place(percentile, len(ordered))])
    bound, interval = early_stopping_bound(ordered, percentile), quantile_interval(series, percentile / 100)
    return {
        "percentile": percentile,
        "value": own if official is None else official,
        "needed": needed,
        "bound": official_bound if official_bound is not None else None if bound is None else bound + moved,
        "interval": asdict(replace(interval, low=interval.low + moved, high=interval.high + moved)),
    }
