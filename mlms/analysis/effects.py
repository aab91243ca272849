"""What one run's figure is, set against another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlms.analysis.intervals import Interval

MARGIN = 0.01
"""Of a ratio: a change of less is not called one, however surely it is there. Two processes of the same program differ
by as much for the layout of their memory alone (Mytkowicz et al., Producing Wrong Data, ASPLOS 2009)."""

Verdict = Literal["better", "worse", "not distinguishable", "unknown"]


@dataclass(frozen=True, slots=True)
class Effect:
    """A metric of a subject against the baseline's: a ratio (other / baseline) or a difference (other - baseline).

    ``verdict`` is "unknown" where there is no interval, or none to be trusted: ``note`` says why in a word. A ratio is
    better or worse where its whole interval lies beyond the margin around 1; a difference of accuracies where its test
    says so at the 5% level.
    """

    metric: str
    unit: str
    baseline: float
    value: float
    kind: Literal["ratio", "difference"]
    effect: float
    interval: Interval | None
    p: float | None
    verdict: Verdict
    note: str = ""


def ratio_verdict(interval: Interval, higher_is_better: bool, margin: float) -> Verdict:
    """Judge the interval of a ratio.

    >>> ratio_verdict(Interval(1.03, 1.05, 0.95, ""), higher_is_better=False, margin=0.01)
    'worse'
    """
    if interval.low > 1 + margin:
        return "better" if higher_is_better else "worse"
    if interval.high < 1 / (1 + margin):
        return "worse" if higher_is_better else "better"
    return "not distinguishable"
