"""A run's figures beside published ones: how sure the run's are, and whether they reproduce the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from mlms.analysis.intervals import Interval, wilson

PERCENT = "%"


def judged(metric: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the record's ``metrics`` with its ``interval``, and ``reproduced`` beside a published figure."""
    interval = metric_interval(metric["value"], metric["unit"], metric["samples"])
    published = metric["published"]
    if published:
        published = {**published, "reproduced": reproduced(metric["value"], published["value"], interval)}
    return {**metric, "interval": interval and asdict(interval), "published": published}


def metric_interval(value: float | None, unit: str, samples: int) -> Interval | None:
    """The binomial interval, in percent, of a share of the samples; None for a figure that isn't one.

    A percentage is taken for a share when it is that of a whole number of the samples.
    """
    if value is None or unit != PERCENT or samples < 1:
        return None
    successes = value * samples / 100
    if not -1e-6 <= successes <= samples + 1e-6 or abs(successes - round(successes)) > 1e-6 * max(samples, 1):
        return None
    found = wilson(round(successes), samples)
    return Interval(100 * found.low, 100 * found.high, found.confidence, found.method)


def reproduced(value: float | None, published: float, interval: Interval | None) -> bool | None:
    """Whether the interval holds the published figure, or the difference is within the rounding of its digits.

    None where there is nothing to tell by.

    >>> reproduced(56.5218, 56.522, None), reproduced(56.0, 56.522, Interval(55.9, 56.4, 0.95, ""))
    (True, False)
    """
    if value is None:
        return None
    exponent = Decimal(repr(float(published))).as_tuple().exponent
    assert isinstance(exponent, int)
    rounding = 0.5 * 10.0**exponent
    if abs(value - published) <= rounding * (1 + 1e-6):
        return True
    return None if interval is None else published in interval
