"""A trace as a tree for the terminal: spans of one name in one place are one line, with count, times and share."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlms.reports.format import plain
from mlms.runs.summary import format_duration
from mlms.tracing.paths import Paths, fold
from mlms.tracing.structure import Structure, structure

if TYPE_CHECKING:
    from rich.table import Table

    from mlms.tracing.spans import Spans

SIBLINGS = 20
"""Names shown below one parent unless all are asked for: those with the most time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to show: levels of nesting, a text in the name or a level, and whether all names of a place."""

    depth: int | None = None
    text: str | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """All spans of one name in one place; ``share`` is their total in percent of the roots'.

    ``depth`` counts from 0. ``omitted`` is set on a line that stands for so many names left out.
    """

    depth: int
    name: str
    level: str
    count: int
    failed: int
    total_ns: int
    self_ns: int
    median_ns: float
    share: float
    omitted: int = 0

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def rows(spans: Spans, choice: Choice) -> list[Row]:
    """The lines of the tree, parents before children.

    Raises:
        StorageError: the spans are damaged.
    """
    tree = structure(spans)
    paths = fold(tree)
    shown = _wanted(tree, paths, choice)
    below: defaultdict[int, list[int]] = defaultdict(list)
    for path in np.flatnonzero(shown).tolist():
        below[int(paths.parent[path])].append(path)
    whole = int(paths.total_ns[paths.parent < 0].sum()) or 1
    made: list[Row] = []
    waiting: list[int | Row] = list(reversed(_siblings(tree, paths, below[-1], whole, choice)))
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, Row):
            made.append(entry)
            continue
        made.append(_row(tree, paths, entry, whole))
        waiting.extend(reversed(_siblings(tree, paths, below[entry], whole, choice)))
    return made


def _wanted(tree: Structure, paths: Paths, choice: Choice) -> np.ndarray[Any, np.dtype[np.bool_]]:
    shown = np.ones(len(paths.parent), bool)
    if choice.text is not None:
        text = choice.text.casefold()
        fitting = np.array([text in name.casefold() for name in tree.names], bool)
        levels = np.array([text == level for level in tree.levels], bool)
        shown = fitting[paths.name] | levels[paths.level] if len(paths.name) else shown
        for path in range(len(shown) - 1, -1, -1):  # children come after their parents
            if shown[path] and paths.parent[path] >= 0:
                shown[paths.parent[path]] = True
    if choice.depth is not None:
        shown &= paths.depth < choice.depth
    return shown


def _siblings(tree: Structure, paths: Paths, siblings: list[int], whole: int, choice: Choice) -> list[int | Row]:
    """The ones to show, in order, and a line for the rest."""
    if choice.everything or len(siblings) <= SIBLINGS:
        return list(siblings)
    by_time = sorted(siblings, key=lambda path: -int(paths.total_ns[path]))
    kept, rest = set(by_time[:SIBLINGS]), by_time[SIBLINGS:]
    total = int(paths.total_ns[rest].sum())
    line = Row(
        depth=int(paths.depth[rest[0]]),
        name=f"… {len(rest)} more names",
        level="",
        count=int(paths.count[rest].sum()),
        failed=int(paths.failed[rest].sum()),
        total_ns=total,
        self_ns=int(paths.self_ns[rest].sum()),
        median_ns=float("nan"),
        share=100 * total / whole,
        omitted=len(rest),
    )
    return [*(path for path in siblings if path in kept), line]


def _row(tree: Structure, paths: Paths, path: int, whole: int) -> Row:
    total = int(paths.total_ns[path])
    return Row(
        depth=int(paths.depth[path]),
        name=tree.names[paths.name[path]],
        level=tree.levels[paths.level[path]],
        count=int(paths.count[path]),
        failed=int(paths.failed[path]),
        total_ns=total,
        self_ns=int(paths.self_ns[path]),
        median_ns=float(paths.median_ns[path]),
        share=100 * total / whole,
    )


def table(found: list[Row], width: int) -> Table:
    """The lines as a table for a screen of that many columns; names give way where it is narrow, figures don't."""
    from rich.table import Table
    from rich.text import Text

    figures = [_figures(row) for row in found]
    titles = ("level", "count", "median", "total", "self", "share")
    widths = [max(map(len, column)) for column in zip(titles, *figures, strict=True)]
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    left = width - sum(widths) - 2 * len(titles)
    made.add_column("span", overflow="ellipsis", no_wrap=True, max_width=max(left, 16))
    for title, needed in zip(titles, widths, strict=True):
        justify: Literal["left", "right"] = "left" if title == "level" else "right"
        made.add_column(title, justify=justify, no_wrap=True, min_width=needed)
    for row, cells in zip(found, figures, strict=True):
        name = Text("  " * row.depth + plain(row.name), style="dim" if row.omitted else "")
        if row.failed:
            name.append(f" ({row.failed} failed)", style="red")
        made.add_row(name, *map(Text, cells))
    return made


def _figures(row: Row) -> tuple[str, ...]:
    median = "" if row.omitted else format_duration(row.median_ns)
    times = (format_duration(row.total_ns), format_duration(row.self_ns))
    return (row.level, f"{row.count:,}", median, *times, f"{row.share:.1f}%")
