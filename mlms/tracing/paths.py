"""Spans folded into paths: all spans of one name below the same path are one path."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mlms.tracing.structure import Integers, Structure


@dataclass(frozen=True, slots=True)
class Paths:
    """Arrays of shape (paths,), parents before children and siblings in the order in which they first start.

    ``parent`` is a position in these arrays, -1 for a root; ``name`` and ``level`` are codes of the structure.
    ``self_ns`` is the time of the spans themselves without what their children, within them, took.
    """

    parent: Integers
    name: Integers
    level: Integers
    depth: Integers
    count: Integers
    failed: Integers
    total_ns: Integers
    self_ns: Integers
    median_ns: npt.NDArray[np.float64]


def fold(spans: Structure) -> Paths:
    """Fold spans by path, a depth at a time."""
    path = np.full(len(spans.parent) + 1, -1, np.int64)  # the last element is what a root's parent -1 points to
    by_depth = np.argsort(spans.depth, kind="stable")
    bounds = np.searchsorted(spans.depth[by_depth], np.arange(int(spans.depth.max(initial=-1)) + 2))
    firsts: list[Integers] = []
    paths = 0
    for begin, end in pairwise(bounds):
        here = by_depth[begin:end]
        key = (path[spans.parent[here]] + 1) * len(spans.names) + spans.name[here]
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        path[here] = paths + rank[which]
        firsts.append(here[first[order]])
        paths += len(order)
    path = path[:-1]
    first_of = np.concatenate([np.empty(0, np.int64), *firsts])
    duration = spans.end - spans.start
    parent = spans.parent[first_of]
    return Paths(
        parent=np.where(parent >= 0, path[parent], -1) if paths else parent,
        name=spans.name[first_of],
        level=spans.level[first_of],
        depth=spans.depth[first_of],
        count=np.bincount(path, minlength=paths),
        failed=_sum(path, spans.failed.astype(np.int64), paths),
        total_ns=_sum(path, duration, paths),
        self_ns=_sum(path, _own(spans, duration), paths),
        median_ns=_medians(path, duration, paths),
    )


def _own(spans: Structure, duration: Integers) -> Integers:
    child = np.flatnonzero(spans.parent >= 0)
    parent = spans.parent[child]
    within = np.minimum(spans.end[child], spans.end[parent]) - np.maximum(spans.start[child], spans.start[parent])
    own: Integers = np.maximum(duration - _sum(parent, np.maximum(within, 0), len(duration)), 0)
    return own


def _sum(group: Integers, values: Integers, groups: int) -> Integers:
    sums = np.zeros(groups, np.int64)
    np.add.at(sums, group, values)
    return sums


def _medians(group: Integers, values: Integers, groups: int) -> npt.NDArray[np.float64]:
    ordered = values[np.lexsort((values, group))]
    counts = np.bincount(group, minlength=groups)
    begin = np.cumsum(counts) - counts
    if not groups:
        return np.empty(0)
    middle: npt.NDArray[np.float64] = (ordered[begin + (counts - 1) // 2] + ordered[begin + counts // 2]) / 2
    return middle
