"""Limits that a comparison must keep: ``latency.p90 > 1.05x``, ``top1 < -0.5``.

A threshold is ``METRIC [<|>] LIMIT``. A limit with an x is a ratio to the baseline, one with a sign a difference in the
metric's own unit. Without ``<`` or ``>``, a ratio above 1 and a positive difference mean ``>``, the others ``<``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mlms.analysis.comparison import Comparison
from mlms.errors import InputError, UnknownNameError

_FORM = re.compile(
    r"\s*(?P<metric>[^\s<>]+?)\s*(?P<sign>[<>]?)\s*(?P<limit>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?P<ratio>x?)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Threshold:
    """``text`` as given; hit where the ratio (or else the difference) lies beyond ``limit``."""

    text: str
    metric: str
    above: bool
    limit: float
    ratio: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A threshold that a run doesn't keep, or that it can't be held to: ``message`` says which, with the figures."""

    label: str
    threshold: str
    message: str


def parse_threshold(text: str) -> Threshold:
    """Read a threshold, as the module describes it.

    Raises:
        InputError: it isn't one.
    """
    form = _FORM.fullmatch(text)
    hint = "as in 'latency.p90 > 1.05x' (a ratio) or 'top1 < -0.5' (a difference)"
    if form is None or (not form["sign"] and not re.search(r"\s", text.strip())):
        raise InputError(f"'{text}' is no threshold", hint=hint)
    ratio, limit = bool(form["ratio"]), float(form["limit"])
    if ratio and limit <= 0:
        raise InputError(f"'{text}': a ratio is more than 0", hint=hint)
    if not ratio and form["limit"][0] not in "+-":
        raise InputError(
            f"'{text}' is neither a ratio nor a difference",
            hint=f"put x after a ratio, a sign before a difference: {hint}",
        )
    above = form["sign"] == ">" if form["sign"] else limit > (1 if ratio else 0)
    return Threshold(text.strip(), form["metric"], above, limit, ratio)


def hits(comparison: Comparison, thresholds: Sequence[Threshold]) -> tuple[Hit, ...]:
    """Every threshold that a run doesn't keep against the baseline. One that can't be judged counts as not kept.

    Raises:
        UnknownNameError: no run of the comparison has such a metric.
    """
    return tuple(_hits(comparison, thresholds))


def _hits(comparison: Comparison, thresholds: Sequence[Threshold]) -> Iterator[Hit]:
    for threshold in thresholds:
        if threshold.metric not in comparison.units:
            near = get_close_matches(threshold.metric, comparison.units, n=1)
            known = ", ".join(comparison.units) or "none"
            hint = f"did you mean '{near[0]}'?" if near else f"these runs have {known}"
            raise UnknownNameError(f"'{threshold.text}': no metric '{threshold.metric}' here", hint=hint)
        for contrast in comparison.contrasts:
            effect = contrast.effect(threshold.metric)
            if effect is None or (threshold.ratio and not effect.baseline):
                why = "; ".join(contrast.notes) or "one of the two has no such figure"
                yield Hit(contrast.label, threshold.text, f"{threshold.metric} could not be compared: {why}")
                continue
            found = effect.value / effect.baseline if threshold.ratio else effect.value - effect.baseline
            if found > threshold.limit if threshold.above else found < threshold.limit:
                side = "above" if threshold.above else "below"
                shown = f"{found:.4g}x" if threshold.ratio else f"{found:+.4g}"
                limit = f"{threshold.limit:g}x" if threshold.ratio else f"{threshold.limit:+g}"
                yield Hit(
                    contrast.label, threshold.text, f"{threshold.metric} is {shown}, {side} {limit} ({effect.verdict})"
                )
