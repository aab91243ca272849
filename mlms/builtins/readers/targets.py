"""Targets as they are written (class names or indices) to what metrics take (class indices)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from mlms.errors import DataError, Place

INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)

MOST_DIGITS = 18
"""Of an index of 64 bits."""


def class_indices(
    targets: Sequence[int | float | str], labels: tuple[str, ...] | None, places: Sequence[Place]
) -> list[int]:
    """Class indices of targets that are all label names, or else all indices already.

    The column is read as a whole, so that labels which are numbers themselves ("1" to "10") stay unambiguous wherever
    a target is only a name ("10") or only an index ("0"). Without labels, names are numbered in sorted order.

    Raises:
        DataError: a target is neither a label nor an index of one, or all are both and mean different classes; the
            place is named.
    """
    texts = [str(target) for target in targets]
    whole = all(INTEGER.fullmatch(text) for text in texts)
    if labels is None and not whole:
        labels = tuple(sorted(set(texts)))
    if labels is None or (whole and not set(texts) <= set(labels)):
        return by_number(texts, labels, places)
    if whole:
        _refuse_both(texts, labels, places)
    return by_name(texts, labels, places)


def _refuse_both(texts: Sequence[str], labels: tuple[str, ...], places: Sequence[Place]) -> None:
    if not all(0 <= int(text) < len(labels) for text in texts):
        return
    for text, place in zip(texts, places, strict=True):
        if labels[int(text)] != text:
            raise DataError(
                f"'{text}' may be the label of class {labels.index(text)}, or the index of the label"
                f" '{labels[int(text)]}': all targets are labels and indices both",
                place=place,
                hint="declare labels that are no numbers ('class 1'), and write the targets as these, or as indices"
                " from 0",
            )


def by_name(texts: Sequence[str], labels: tuple[str, ...], places: Sequence[Place]) -> list[int]:
    """The index of each label.

    Raises:
        DataError: one is no label, or that of several classes.
    """
    counts = Counter(labels)
    for text, place in zip(texts, places, strict=True):
        if text not in counts:
            raise DataError(
                f"'{text}' is none of the dataset's {len(labels)} labels",
                place=place,
                hint="write labels throughout, or class indices throughout",
            )
        if counts[text] > 1:
            raise DataError(
                f"the label '{text}' stands for more than one class", place=place, hint="use class indices instead"
            )
    indices = {label: index for index, label in enumerate(labels)}
    return [indices[text] for text in texts]


def by_number(texts: Sequence[str], labels: tuple[str, ...] | None, places: Sequence[Place]) -> list[int]:
    """Whole numbers as the class indices that they are.

    Raises:
        DataError: one is below 0, or beyond the labels.
    """
    for text, place in zip(texts, places, strict=True):
        # Python makes no number of several thousand digits.
        if len(text) > MOST_DIGITS or int(text) < 0 or (labels is not None and int(text) >= len(labels)):
            last = "" if labels is None else f" to {len(labels) - 1}"
            shown = text if len(text) <= MOST_DIGITS else f"{text[:MOST_DIGITS]}..."
            raise DataError(f"there is no class {shown}", place=place, hint=f"class indices go from 0{last}")
    return [int(text) for text in texts]
