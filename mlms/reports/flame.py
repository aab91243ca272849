"""The span table packed for the flame and timeline view that ``templates/flame.js`` draws.

The form, compressed (gzip) and in base64. Little-endian; every part is padded to a multiple of 8 bytes.

======= ============= ===============================================================================================
part    type          meaning
======= ============= ===============================================================================================
length  float64       bytes of the header
header  JSON          ``labels``: [name, level, kind] that boxes are of; ``attributes``: [key, value, key, value ...]
                      that boxes refer to, the first none; ``views``: for the flame graph and the timeline the number
                      of ``boxes``, the extent in ns and ``rows``: where each row ends
columns float64       of each view: start (ns, the difference to the box before), duration (ns)
        int32         of each view: label; parent (how many boxes back, 0 for none); failed (a count); then of the
                      flame graph count, of the timeline attributes
        float64       of the flame graph: total and self time (ns)
======= ============= ===============================================================================================

A box is a span (timeline) or all spans of a path (flame graph). Boxes are in the order of rows and starts; in a row
none overlaps another, so that a script finds those in sight by bisection. Imported only when a report is made.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlms.errors import StorageError
from mlms.reports.format import plain
from mlms.reports.spans import attribute_pairs
from mlms.tracing import paths
from mlms.tracing.lanes import lanes
from mlms.tracing.spans import SpanTable
from mlms.tracing.structure import Integers, Structure, structure

SPANS = 100_000
"""Spans in the timeline."""
PATHS = 20_000
"""Boxes in the flame graph; the outer ones stay."""
TEXT = 2_000_000
"""Characters of all names, and of all attributes. Longer names are cut, later attributes left out."""
LONGEST_NAME = 120
LONGEST_VALUE = 200
ATTRIBUTES = 24

KINDS = {"layer": "mlms.layer.type", "library": "mlms.library.primitive"}
"""What a level's spans are told apart by besides their names; operators are by their names."""


@dataclass(frozen=True, slots=True)
class Flame:
    """``drawn`` of ``spans`` are in the timeline; of ``predictions`` those that are there ``whole``, if not all are.

    ``paths_omitted`` paths are not in the flame graph; ``bare`` spans lost their attributes for length.
    """

    data: str
    spans: int
    drawn: int
    predictions: int
    whole: int
    paths_omitted: int
    bare: int


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes as arrays of shape (boxes,), in any order; ``label`` has one code for each pair of name and level."""

    start: Integers
    duration: Integers
    row: Integers
    label: Integers
    parent: Integers
    failed: Integers
    integers: Sequence[Integers]
    numbers: Sequence[Integers]


def pack(spans: pl.DataFrame) -> Flame | None:
    """Pack a span table; None where it is empty or its identifiers are none, so that nothing can be nested."""
    try:
        tree = structure(SpanTable(spans))
    except StorageError:
        return None
    if not len(tree.start):
        return None
    # What ends before it starts is drawn as an instant.
    tree = replace(tree, start=tree.start - tree.start.min(), end=np.maximum(tree.end, tree.start) - tree.start.min())
    folded = paths.fold(tree)
    shown = np.arange(min(len(folded.parent), PATHS))
    unit = _predictions(tree)
    kept, whole = _kept(tree, unit)
    part = _part(tree, kept)
    texts, attributes = _attributes(spans.select("attributes", "status_message")[kept])
    name, level = (
        np.concatenate(both) for both in ((part.name, folded.name[shown]), (part.level, folded.level[shown]))
    )
    pairs = name * len(tree.levels) + level
    distinct, first, label = np.unique(pairs, return_index=True, return_inverse=True)
    header = {"labels": _labels(tree, distinct, first, attributes, texts), "attributes": texts}
    flame = Boxes(
        *_layout(folded, shown),
        folded.depth[shown],
        label[len(kept) :],
        folded.parent[shown],
        folded.failed[shown],
        [folded.count[shown]],
        [folded.total_ns[shown], folded.self_ns[shown]],
    )
    timeline = Boxes(
        part.start,
        part.end - part.start,
        _rows(part),
        label[: len(kept)],
        part.parent,
        part.failed.astype(np.int64),
        [np.maximum(attributes, 0)],
        [],
    )
    return Flame(
        data=_encode(header, [flame, timeline]),
        spans=len(tree.start),
        drawn=len(kept),
        predictions=len(np.unique(unit[unit >= 0])),
        whole=whole,
        paths_omitted=len(folded.parent) - len(shown),
        bare=int((attributes < 0).sum()),
    )


def _generations(depth: Integers) -> Iterable[Integers]:
    """Positions, a depth at a time from the roots on."""
    order = np.argsort(depth, kind="stable")
    bounds = np.searchsorted(depth[order], np.arange(int(depth.max(initial=-1)) + 2))
    return [order[begin:end] for begin, end in pairwise(bounds)]


def _predictions(tree: Structure) -> Integers:
    """For each span the outermost span of level model that it is or lies in, -1 for none."""
    model = np.array([level == "model" for level in tree.levels])
    unit = np.full(len(tree.parent) + 1, -1, np.int64)  # the last element is what a root's parent -1 points to
    for here in _generations(tree.depth):
        above = unit[tree.parent[here]]
        unit[here] = np.where(above >= 0, above, np.where(model[tree.level[here]], here, -1))
    return unit[:-1]


def _kept(tree: Structure, unit: Integers) -> tuple[Integers, int]:
    """The spans to draw, in the table's order, and how many predictions they hold whole.

    Below the bound all. Else those outside of predictions (the outer ones, up to half of the bound), the slowest
    prediction, the median one and the first ones; warm-up comes last.
    """
    if len(unit) <= SPANS:
        return np.arange(len(unit)), len(np.unique(unit[unit >= 0]))
    outer_first = np.lexsort((tree.start, tree.depth))
    outside = outer_first[unit[outer_first] < 0]
    outside = outside[: SPANS // 2 if len(outside) < len(unit) else SPANS]
    left = SPANS - len(outside)
    counts = np.bincount(unit[unit >= 0], minlength=len(unit))
    found = np.flatnonzero(counts)
    step = tree.parent[found]
    warm = np.array([name == "warm_up" for name in tree.names])[tree.name[step]] & (step >= 0)
    measured = found[~warm] if not warm.all() else found
    by_duration = measured[np.argsort((tree.end - tree.start)[measured], kind="stable")]
    in_order = found[np.lexsort((tree.start[found], ~np.isin(found, measured)))]
    typical = [*by_duration[-1:], *by_duration[len(by_duration) // 2 :][:1]]
    ranked = np.array(list(dict.fromkeys([*typical, *in_order])), np.int64)
    whole = int(np.searchsorted(np.cumsum(counts[ranked]), left, side="right"))
    if whole or not len(ranked):
        inside = np.flatnonzero(np.isin(unit, ranked[:whole]))
    else:
        inside = outer_first[unit[outer_first] == ranked[0]][:left]
    return np.sort(np.concatenate([outside, inside])), whole


def _part(tree: Structure, kept: Integers) -> Structure:
    """The structure of some spans; one whose parent isn't among them is a root."""
    place = np.full(len(tree.parent) + 1, -1, np.int64)
    place[kept] = np.arange(len(kept))
    columns = {key: getattr(tree, key)[kept] for key in ("name", "level", "start", "end", "failed", "depth")}
    return replace(tree, parent=place[tree.parent[kept]], **columns)


def _rows(tree: Structure) -> Integers:
    """A row for each lane and depth in it."""
    lane = lanes(tree).lane
    inner = np.zeros(len(lane), np.int64)
    for here in _generations(tree.depth):
        parent = tree.parent[here]
        inner[here] = np.where((parent >= 0) & (lane[parent] == lane[here]), inner[parent] + 1, 0)
    height = np.zeros(int(lane.max(initial=-1)) + 1, np.int64)
    np.maximum.at(height, lane, inner + 1)
    rows: Integers = (np.cumsum(height) - height)[lane] + inner
    return rows


def _layout(folded: paths.Paths, shown: Integers) -> tuple[Integers, Integers]:
    """Where each path's box starts and how wide it is: children side by side, made to fit where they overlapped."""
    parent, total = folded.parent[shown], folded.total_ns[shown].astype(float)
    inner = np.bincount(parent + 1, weights=total, minlength=len(shown) + 1)
    # The last element of each is the whole, which a root's parent -1 points to.
    start, width, used = np.zeros((3, len(shown) + 1))
    width[-1] = inner[0]
    for path, above in enumerate(parent.tolist()):
        room = inner[above + 1]
        width[path] = total[path] * min(1.0, width[above] / room) if room else 0.0
        start[path] = start[above] + used[above]
        used[above] += width[path]
    begin, end = (np.rint(edge[:-1]).astype(np.int64) for edge in (start, start + width))
    return begin, end - begin


def _labels(
    tree: Structure, distinct: Integers, first: Integers, attributes: Integers, texts: Sequence[Sequence[str]]
) -> list[list[str]]:
    """[name, level, kind] of each pair of a name and a level; the kind comes from the first span of the pair."""
    longest = min(LONGEST_NAME, max(8, TEXT // max(1, len(distinct))))
    made = []
    for pair, place in zip(distinct.tolist(), first.tolist(), strict=True):
        name, level = tree.names[pair // len(tree.levels)], tree.levels[pair % len(tree.levels)]
        shown, kind = plain(name, longest), level
        if level in KINDS and place < len(attributes) and attributes[place] > 0:
            text = texts[attributes[place]]
            kind = dict(zip(text[::2], text[1::2], strict=True)).get(KINDS[level], level)
        elif level == "operator":
            kind = shown
        made.append([shown, level, kind])
    return made


def _attributes(table: pl.DataFrame) -> tuple[list[list[str]], Integers]:
    """The distinct attributes, none first, and which of them each span has; -1 for those left out for length."""
    message = pl.col("status_message").fill_null("")
    whole = table.select(pl.concat_str(pl.col("attributes").fill_null(""), pl.lit("\0"), message)).to_series()
    texts: list[list[str]] = [[]]
    places: dict[str, int] = {"\0": 0, "{}\0": 0}
    used = 0
    for text in whole.unique(maintain_order=True):
        if text in places:
            continue
        if used >= TEXT:
            places[text] = -1
            continue
        attributes, _, failure = text.rpartition("\0")
        pairs = [*([("error", failure)] if failure else []), *attribute_pairs(attributes)][:ATTRIBUTES]
        texts.append([plain(cell, LONGEST_VALUE) for pair in pairs for cell in pair])
        used += sum(map(len, texts[-1]))
        places[text] = len(texts) - 1
    return texts, np.fromiter(map(places.__getitem__, whole), np.int64, len(whole))


def _encode(header: dict[str, Any], views: Sequence[Boxes]) -> str:
    columns: list[npt.NDArray[Any]] = []
    header["views"] = []
    for boxes in views:
        order = np.lexsort((boxes.start + boxes.duration, boxes.start, boxes.row))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        parent = boxes.parent[order]
        back = np.where(parent >= 0, np.arange(len(order)) - place[parent], 0)
        ends = np.cumsum(np.bincount(boxes.row))
        extent = float((boxes.start + boxes.duration).max(initial=1))
        header["views"].append({"boxes": len(order), "rows": ends.tolist(), "extent": extent})
        columns += [np.diff(boxes.start[order], prepend=0).astype("<f8"), boxes.duration[order].astype("<f8")]
        integers = (boxes.label[order], back, *(column[order] for column in (boxes.failed, *boxes.integers)))
        columns += [column.astype("<i4") for column in integers]
        columns += [column[order].astype("<f8") for column in boxes.numbers]
    text = _padded(json.dumps(header, separators=(",", ":")).encode())
    length = np.array([len(text)], "<f8").tobytes()
    whole = b"".join([length, text, *(_padded(column.tobytes()) for column in columns)])
    return base64.b64encode(gzip.compress(whole, 6, mtime=0)).decode()


def _padded(data: bytes) -> bytes:
    """With blanks, which JSON passes over, up to a multiple of 8 bytes."""
    return data + b" " * (-len(data) % 8)
