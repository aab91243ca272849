"""Spans laid out on lanes so that viewers, which nest by time alone, show each span within its parent.

A span lies in its parent's lane if it fits there, and else in one that is free for as long as it takes: predictions
that overlap, work of another thread, kernels that outlive the call that launched them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from mlms.tracing.structure import Integers, Structure


@dataclass(frozen=True, slots=True)
class Lanes:
    """``lane`` is an array of shape (spans,); ``names`` are those of the lanes."""

    lane: Integers
    names: Sequence[str]


def lanes(spans: Structure) -> Lanes:
    """Place every span. In one lane any two spans are apart, or one lies within the other, its ancestor."""
    start, end, parent, level = (column.tolist() for column in (spans.start, spans.end, spans.parent, spans.level))
    placed = [-1] * len(start)
    open_spans: list[list[int]] = []
    kinds: list[int] = []
    busy: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    free: defaultdict[int, list[int]] = defaultdict(list)
    for span in np.lexsort((spans.depth, -spans.end, spans.start)).tolist():
        above, begin = parent[span], start[span]
        if above >= 0 and placed[above] >= 0 and end[span] <= end[above]:
            stack = open_spans[placed[above]]
            while stack and stack[-1] != above and end[stack[-1]] <= begin:
                stack.pop()
            if stack and stack[-1] == above:
                placed[span] = placed[above]
                stack.append(span)
                continue
        kind = level[span]
        while busy[kind] and busy[kind][0][0] <= begin:
            heappush(free[kind], heappop(busy[kind])[1])
        if free[kind]:
            lane = heappop(free[kind])
        else:
            lane = len(kinds)
            kinds.append(kind)
            open_spans.append([])
        open_spans[lane][:] = [span]
        heappush(busy[kind], (end[span], lane))
        placed[span] = lane
    return Lanes(np.array(placed, np.int64), _names([spans.levels[kind] for kind in kinds]))


def _names(levels: Sequence[str]) -> list[str]:
    seen: defaultdict[str, int] = defaultdict(int)
    names = []
    for level in levels:
        seen[level] += 1
        names.append(level if seen[level] == 1 else f"{level} {seen[level]}")
    return names
