"""Summary of a latency series, with percentiles only where the sample supports them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

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


def summarize(latencies_ns: npt.NDArray[np.int64], percentiles: Sequence[float] = PERCENTILES) -> Mapping[str, Any]:
    """Summarise latencies (ns, shape (queries,)) as the record's ``latency`` holds them.

    A percentile is the nearest-rank one: the smallest latency that at least that share of the queries stays within.
    Its ``value`` is None where fewer than ``needed`` queries were made.
    """
    ordered = np.sort(latencies_ns)
    count = len(ordered)
    return {
        "unit": "ns",
        "queries": count,
        "mean": float(ordered.mean()) if count else None,
        "min": int(ordered[0]) if count else None,
        "max": int(ordered[-1]) if count else None,
        "stdev": float(ordered.std(ddof=1)) if count > 1 else None,
        "percentiles": [
            {
                "percentile": percentile,
                "value": int(ordered[math.ceil(percentile / 100 * count) - 1]) if count >= needed else None,
                "needed": needed,
            }
            for percentile in percentiles
            for needed in (queries_needed(percentile),)
        ],
    }
