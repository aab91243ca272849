"""Two runs' answers to the same samples. Imports polars; imported lazily."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

SAME = 1e-6
"""How far, in percent, a recomputed figure may lie from the recorded one."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """What two runs scored on the samples that both answered: arrays of one order, shape (samples,).

    ``other_targets`` counts those that had another target in the other run: there, one id stands for two samples.
    """

    base: npt.NDArray[np.float64]
    other: npt.NDArray[np.float64]
    other_targets: int


def pair(base: pl.DataFrame, other: pl.DataFrame) -> Pairing:
    """Match scores by sample id; both frames are as ``scores`` gives them."""
    joined = base.join(other, on="sample", how="inner", suffix="_other").sort("sample")
    return Pairing(joined["score"].to_numpy(), joined["score_other"].to_numpy(), _other_targets(joined))


def _other_targets(joined: pl.DataFrame) -> int:
    if not {"target", "target_other"} <= set(joined.columns):
        return 0
    ours, theirs = joined["target"], joined["target_other"]
    return joined.height if ours.dtype != theirs.dtype else int(ours.ne_missing(theirs).sum())


def scores(predictions: pl.DataFrame, metric: str, recorded: float) -> pl.DataFrame | None:
    """Each sample's contribution (0 to 1) to a percentage: columns sample and score, and target where there is one.

    None where it can't be told.

    ``topK`` is whether the target is among the first K of ``classes``; any other metric is a column of its own name, if
    the task describes one. Their mean has to give the recorded figure (percent), or they aren't what it was made of.
    """
    top = re.fullmatch(r"top(\d+)", metric)
    schema = predictions.schema
    if top and schema.get("classes") == pl.List(pl.Int64) and schema.get("target") == pl.Int64 and "sample" in schema:
        found = predictions.filter(pl.col("target").is_not_null()).select(
            "sample",
            "target",
            score=pl.col("classes").list.head(int(top[1])).list.contains(pl.col("target")).cast(pl.Float64),
        )
    elif "sample" in schema and metric in schema and (schema[metric].is_numeric() or schema[metric] == pl.Boolean):
        kept = [name for name in ("sample", "target") if name in schema]
        found = predictions.select(*kept, score=pl.col(metric).cast(pl.Float64)).drop_nulls(["sample", "score"])
    else:
        return None
    mean = found["score"].mean()
    if not isinstance(mean, float) or abs(100 * mean - recorded) > SAME or found["sample"].n_unique() < found.height:
        return None
    return found


def mcnemar(base_only: int, other_only: int) -> float:
    """Two-sided mid-p value that two paired proportions are equal, from the samples that only one of them got right.

    McNemar (Psychometrika 12, 1947) in its exact binomial form with the mid-p correction, which keeps its level
    without the exact test's loss of power (Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 13:91, 2013).

    >>> mcnemar(0, 0), round(mcnemar(2, 10), 4), round(mcnemar(10, 2), 4)
    (1.0, 0.0225, 0.0225)
    """
    trials, fewer = base_only + other_only, min(base_only, other_only)
    if trials == 0:
        return 1.0
    logs = [math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in range(fewer + 1)]
    chances = [math.exp(value - trials * math.log(2)) for value in logs]
    return min(1.0, 2 * sum(chances) - chances[-1])
