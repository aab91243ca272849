"""Where a classifier went wrong: which classes it mixes up, and its mistakes by confidence.

Imported only when a report is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

CONFUSIONS = 10
MISTAKES = 5
"""Listed from each end: the most and the least confident."""
MATRIX_CLASSES = 20
"""The most classes for which the whole confusion matrix is shown."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """``count`` samples of class ``target`` were taken for ``predicted``; ``share`` is in percent of that class."""

    target: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong answer; ``score`` is the predicted class's, None where scores weren't kept."""

    sample: str
    target: str
    predicted: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows are target classes, columns predicted ones."""

    classes: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Mistakes:
    """``most`` and ``least`` are mistakes by confidence, highest score first; ``matrix`` is None for many classes."""

    samples: int
    wrong: int
    confusions: Sequence[Confusion]
    most: Sequence[Mistake]
    least: Sequence[Mistake]
    matrix: Matrix | None


def mistakes(predictions: pl.DataFrame, labels: Sequence[str] | None) -> Mistakes | None:
    """Find the mistakes of a classifier (columns sample, target and class, both whole numbers, and, if kept, scores
    and label); None where the table doesn't allow it: another task, or no targets.
    """
    schema = predictions.schema
    if not all(name in schema for name in ("sample", "target", "class")):
        return None
    if not (schema["target"].is_integer() and schema["class"].is_integer()):
        return None
    frame = predictions.filter(pl.col("target").is_not_null() & pl.col("class").is_not_null())
    if frame.height == 0:
        return None
    names = _names(frame, labels)
    wrong = frame.filter(pl.col("target") != pl.col("class"))
    ordered = _by_score(wrong)
    both_ends = ordered.height > 2 * MISTAKES
    return Mistakes(
        samples=frame.height,
        wrong=wrong.height,
        confusions=_confusions(frame, wrong, names),
        most=_listed(ordered.head(MISTAKES if both_ends else 2 * MISTAKES), names),
        least=_listed(ordered.tail(MISTAKES), names) if both_ends else [],
        matrix=_matrix(frame, names),
    )


def _names(frame: pl.DataFrame, labels: Sequence[str] | None) -> Mapping[int, str]:
    """Every class that occurs, by its label where one is known."""
    known: dict[int, str] = dict(enumerate(labels or ()))
    if not known and "label" in frame.schema:
        pairs = frame.select("class", pl.col("label").cast(pl.String)).drop_nulls().unique("class")
        known = dict(pairs.iter_rows())
    occurring = set(frame["target"].unique()) | set(frame["class"].unique())
    return {index: known.get(index, str(index)) for index in sorted(occurring)}


def _by_score(wrong: pl.DataFrame) -> pl.DataFrame:
    """Mistakes with their best score as ``score``, highest first; samples break ties."""
    dtype = wrong.schema.get("scores")
    score = pl.col("scores").list.first().cast(pl.Float64) if isinstance(dtype, pl.List) else pl.lit(None, pl.Float64)
    columns = [pl.col("sample").cast(pl.String), pl.col("target"), pl.col("class"), score.alias("score")]
    return wrong.select(columns).sort("score", "sample", descending=[True, False], nulls_last=True)


def _listed(frame: pl.DataFrame, names: Mapping[int, str]) -> list[Mistake]:
    return [
        Mistake(sample, names[target], names[predicted], score)
        for sample, target, predicted, score in frame.iter_rows()
    ]


def _confusions(frame: pl.DataFrame, wrong: pl.DataFrame, names: Mapping[int, str]) -> list[Confusion]:
    of_class = dict(frame.group_by("target").len().iter_rows())
    counts = wrong.group_by("target", "class").len().sort("len", "target", "class", descending=[True, False, False])
    return [
        Confusion(names[target], names[predicted], count, 100 * count / of_class[target])
        for target, predicted, count in counts.head(CONFUSIONS).iter_rows()
    ]


def _matrix(frame: pl.DataFrame, names: Mapping[int, str]) -> Matrix | None:
    if not 2 <= len(names) <= MATRIX_CLASSES:
        return None
    counts = {(target, predicted): count for target, predicted, count in frame.group_by("target", "class").len().rows()}
    return Matrix(list(names.values()), [[counts.get((row, column), 0) for column in names] for row in names])
