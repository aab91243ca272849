"""Who lies above whom in a span table's tree, for all spans at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlms.tracing.structure import Structure

Integers = npt.NDArray[np.int64]
Chosen = npt.NDArray[np.bool_]


def at_level(tree: Structure, level: str) -> Chosen:
    """Which spans are of this level."""
    code = tree.levels.index(level) if level in tree.levels else -1
    chosen: Chosen = tree.level == code
    return chosen


def nearest_above(tree: Structure, chosen: Chosen) -> Integers:
    """The position of each span's nearest ancestor among those chosen, -1 without one."""
    found = np.full(len(tree.parent), -1, np.int64)
    order = np.argsort(tree.depth, kind="stable")
    ends = np.cumsum(np.bincount(tree.depth)) if len(order) else np.empty(0, np.int64)
    for begin, end in pairwise(ends):
        here = order[begin:end]
        parent = tree.parent[here]
        found[here] = np.where(chosen[parent], parent, found[parent])
    return found


def occurrences(*keys: Integers) -> Integers:
    """How many earlier entries have the same keys; the last key is the order, and isn't compared."""
    *same, time = keys
    order = np.lexsort((time, *reversed(same)))
    first = np.zeros(len(order), bool)
    first[:1] = True
    for key in same:
        first[1:] |= np.diff(key[order]) != 0
    place = np.arange(len(order))
    counts = np.empty(len(order), np.int64)
    counts[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    return counts
