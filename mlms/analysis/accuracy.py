"""Accuracies of two runs, sample by sample where that can be. Imports polars; imported lazily."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlms.analysis.bootstrap import paired_mean_interval
from mlms.analysis.effects import Effect, Verdict
from mlms.analysis.intervals import CONFIDENCE, Interval, newcombe
from mlms.analysis.measured import Measured
from mlms.analysis.published import PERCENT, metric_interval

if TYPE_CHECKING:
    import polars as pl


NOT_PAIRED = "no samples in common to pair"


def accuracy_effect(baseline: Measured, other: Measured) -> Iterator[Effect]:
    """The difference of each metric that both report; percentages in percentage points, higher taken for better."""
    ours = {metric["name"]: metric for metric in baseline.record["metrics"] if metric["value"] is not None}
    theirs = {metric["name"]: metric for metric in other.record["metrics"] if metric["value"] is not None}
    frames: tuple[pl.DataFrame, pl.DataFrame] | None = None
    if ours.keys() & theirs.keys() and all(run.record["files"].get("predictions") for run in (baseline, other)):
        frames = baseline.predictions, other.predictions
    for name, metric in ours.items():
        if name in theirs and theirs[name]["unit"] == metric["unit"]:
            yield _effect(metric, theirs[name], frames)


def _effect(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], frames: tuple[pl.DataFrame, pl.DataFrame] | None
) -> Effect:
    if ours["unit"] == PERCENT:
        paired = _paired(ours, theirs, frames) if frames else NOT_PAIRED
        if isinstance(paired, Effect):
            return paired
        if all(metric_interval(side["value"], PERCENT, side["samples"]) for side in (ours, theirs)):
            shares = [(side["value"] / 100, side["samples"]) for side in (ours, theirs)]
            found = newcombe(shares[0], shares[1])
            interval = Interval(100 * found.low, 100 * found.high, found.confidence, found.method)
            verdict: Verdict = "better" if interval.low > 0 else "worse" if interval.high < 0 else "not distinguishable"
            return _difference(ours, theirs, interval, None, verdict, paired)
    return _difference(ours, theirs, None, None, "unknown", "no figures by sample to take an interval from")


def _paired(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], frames: tuple[pl.DataFrame, pl.DataFrame]
) -> Effect | str:
    """The effect over the samples that both runs answered, or why they aren't paired."""
    from mlms.analysis.paired import mcnemar, pair, scores

    sides = [scores(frame, side["name"], side["value"]) for frame, side in zip(frames, (ours, theirs), strict=True)]
    if sides[0] is None or sides[1] is None:
        return NOT_PAIRED
    pairing = pair(sides[0], sides[1])
    common = len(pairing.base)
    if not common:
        return NOT_PAIRED
    if pairing.other_targets:
        # Those with equal targets aren't the same samples either: of ten classes, every tenth is equal by chance.
        return (
            f"not paired: {pairing.other_targets:,} of {common:,} samples with the same id have another target, so the"
            " runs used other data"
        )
    differences = pairing.other - pairing.base
    found = paired_mean_interval(differences)
    interval = Interval(100 * found.low, 100 * found.high, found.confidence, found.method)
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    note = f"{gained} samples gained, {lost} lost of {common:,}"
    p: float | None = None
    if np.isin(differences, (-1.0, 0.0, 1.0)).all():
        p = mcnemar(lost, gained)
        distinct = p < 1 - CONFIDENCE
        note += f", McNemar's mid-p = {p:.2g}"
    else:
        distinct = 0 not in interval
    if common < max(side.height for side in sides if side is not None):
        note += f"; only the samples in common are compared ({sides[0].height:,} and {sides[1].height:,} in all)"
        ours = {**ours, "value": 100 * float(pairing.base.mean())}
        theirs = {**theirs, "value": 100 * float(pairing.other.mean())}
    verdict: Verdict = "not distinguishable"
    if distinct:
        verdict = "better" if differences.mean() > 0 else "worse"
    return _difference(ours, theirs, interval, p, verdict, note)


def _difference(
    ours: Mapping[str, Any],
    theirs: Mapping[str, Any],
    interval: Interval | None,
    p: float | None,
    verdict: Verdict,
    note: str,
) -> Effect:
    effect = theirs["value"] - ours["value"]
    return Effect(
        ours["name"], ours["unit"], ours["value"], theirs["value"], "difference", effect, interval, p, verdict, note
    )
