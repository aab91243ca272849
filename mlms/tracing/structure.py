"""The tree of a span table as arrays, made in one pass: some tens of bytes a span, whatever its texts are.

Imports polars through the table it reads; import this module where spans are used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlms.errors import StorageError

if TYPE_CHECKING:
    import polars as pl

    from mlms.tracing.spans import Spans

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Structure:
    """Arrays of shape (spans,), in the table's order. ``names`` and ``levels`` are the texts that codes stand for.

    ``parent`` is a position in these arrays, -1 for a root: a span without a parent, with one outside of the table, or
    in a loop of parents. Times are Unix time in ns.
    """

    names: Sequence[str]
    levels: Sequence[str]
    name: Integers
    level: Integers
    start: Integers
    end: Integers
    failed: npt.NDArray[np.bool_]
    parent: Integers
    depth: Integers


def structure(spans: Spans) -> Structure:
    """Read a span table's tree.

    Raises:
        StorageError: the file is damaged, or an identifier is none.
    """
    names: defaultdict[str, int] = defaultdict(count().__next__)
    levels: defaultdict[str, int] = defaultdict(count().__next__)
    found: list[tuple[npt.NDArray[np.generic], ...]] = []
    for part in spans.parts("span_id", "parent_id", "name", "level", "start_ns", "end_ns", "status"):
        found.append(
            (
                _numbers(part["span_id"]),
                _numbers(part["parent_id"].fill_null("").replace({"": "0" * 16})),
                np.fromiter(map(names.__getitem__, part["name"].fill_null("")), np.int64, part.height),
                np.fromiter(map(levels.__getitem__, part["level"].fill_null("")), np.int64, part.height),
                part["start_ns"].to_numpy(),
                part["end_ns"].to_numpy(),
                (part["status"] == "error").fill_null(False).to_numpy(),
            )
        )
    kinds = (np.uint64, np.uint64, np.int64, np.int64, np.int64, np.int64, np.bool_)
    columns: list[npt.NDArray[Any]] = [
        np.concatenate([np.empty(0, kind), *(part[column] for part in found)]).astype(kind, copy=False)
        for column, kind in enumerate(kinds)
    ]
    identifiers, above, name, level, start, end, failed = columns
    parent = _parents(identifiers, above)
    depth = _depths(parent)
    parent[depth < 0] = -1
    return Structure(list(names), list(levels), name, level, start, end, failed, parent, np.maximum(depth, 0))


def _numbers(column: pl.Series) -> npt.NDArray[np.uint64]:
    """Identifiers of 16 hexadecimal digits as integers."""
    digits = "".join(column.fill_null("").to_list())
    if (column.str.len_bytes() == 16).all(ignore_nulls=False):
        try:
            return np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64)
        except ValueError as error:
            raise bad_identifiers() from error
    raise bad_identifiers()


def bad_identifiers() -> StorageError:
    """The error for a table whose identifiers are none."""
    return StorageError(
        "some spans have identifiers that are not 16 (spans) or 32 (traces) hexadecimal digits",
        hint="the table was written by another program, or is damaged",
    )


def _parents(identifiers: npt.NDArray[np.uint64], above: npt.NDArray[np.uint64]) -> Integers:
    parent = np.full(len(identifiers), -1, np.int64)
    if len(identifiers):
        order = np.argsort(identifiers, kind="stable")
        place = np.minimum(np.searchsorted(identifiers[order], above), len(order) - 1)
        known = identifiers[order][place] == above
        parent[known] = order[place[known]]
    return parent


def _depths(parent: Integers) -> Integers:
    """The number of ancestors of each; -1 for those in or below a loop."""
    depth = np.where(parent < 0, 0, -1)
    waiting = np.flatnonzero(parent >= 0)
    while len(waiting):
        above = depth[parent[waiting]]
        known = above >= 0
        if not known.any():
            break
        depth[waiting[known]] = above[known] + 1
        waiting = waiting[~known]
    return depth
