"""The span table as a tree to read: siblings of one name are one line, whatever their number.

Imported only when a report is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

EXAMPLES = 8
"""Single spans listed below a folded line."""
CHILDREN = 40
"""Lines below one parent; the ones with the most time stay."""
LINES = 600
"""Lines of the whole tree."""
DEPTH = 24


@dataclass(frozen=True, slots=True)
class Example:
    """One span. ``offset_ns`` counts from the start of the trace's first span."""

    offset_ns: int
    duration_ns: int
    failed: bool
    message: str
    attributes: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Line:
    """All spans of one name below the same parent line; ``share`` is their total in percent of the roots' total.

    ``attributes`` are those that all examples, if there are several, share and therefore lack.
    ``omitted`` names below this line were left out for length.
    """

    name: str
    level: str
    count: int
    total_ns: int
    median_ns: float
    share: float
    failed: int
    attributes: Sequence[tuple[str, str]]
    examples: Sequence[Example]
    children: Sequence[Line]
    omitted: int


@dataclass(frozen=True, slots=True)
class Tree:
    """``unplaced`` spans are deeper than ``DEPTH``, left out for length, or in a loop of parents."""

    lines: Sequence[Line]
    spans: int
    unplaced: int


def span_tree(spans: pl.DataFrame) -> Tree | None:
    """Fold a span table (trace_id, span_id, parent_id, name, level, start_ns, end_ns, status, status_message,
    attributes) into lines, a level of the tree at a time. A span whose parent isn't in the table is a root.
    """
    if spans.height == 0:
        return None
    table = spans.unique("span_id", keep="first", maintain_order=True).with_columns(
        pl.col("name").fill_null(""), (pl.col("end_ns") - pl.col("start_ns")).alias("duration_ns")
    )
    zero = int(table["start_ns"].min() or 0)  # type: ignore[arg-type]  # a column of integers
    has_parent = pl.col("parent_id").is_in(table["span_id"].implode()).fill_null(False)
    current = table.filter(~has_parent).with_columns(parent_line=pl.lit(-1, pl.Int64))
    rest = table.filter(has_parent)
    below: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
    omitted: dict[int, int] = {}
    placed = lines = 0
    for _ in range(DEPTH):
        if current.height == 0 or lines >= LINES:
            break
        groups = _fold(current)
        kept = groups.filter(pl.col("rank") <= CHILDREN).head(LINES - lines)
        kept = kept.with_columns(line=pl.int_range(lines, lines + kept.height, dtype=pl.Int64))
        for parent, found in groups["parent_line"].value_counts().iter_rows():
            omitted[parent] = found - kept.filter(pl.col("parent_line") == parent).height
        for row in kept.iter_rows(named=True):
            below.setdefault(row["parent_line"], []).append((row["line"], row))
        lines += kept.height
        placed += int(kept["count"].sum())
        numbered = current.join(kept.select("parent_line", "name", "line"), on=["parent_line", "name"])
        parents = numbered.select(pl.col("span_id").alias("parent_id"), pl.col("line").alias("parent_line"))
        current = rest.join(parents, on="parent_id")
    whole = sum(row["total_ns"] for _, row in below.get(-1, [])) or 1
    return Tree(
        [_line(number, row, below, omitted, whole, zero) for number, row in below.get(-1, [])],
        spans.height,
        spans.height - placed,
    )


def _fold(spans: pl.DataFrame) -> pl.DataFrame:
    """One row for each name below each parent line, in the order in which the names first start."""
    single = pl.struct("start_ns", "duration_ns", "status", "status_message", "attributes")
    return (
        spans.sort("start_ns", maintain_order=True)
        .group_by("parent_line", "name", maintain_order=True)
        .agg(
            pl.col("level").first(),
            pl.len().alias("count"),
            pl.col("duration_ns").sum().alias("total_ns"),
            pl.col("duration_ns").median().alias("median_ns"),
            (pl.col("status") == "error").sum().alias("failed"),
            single.head(EXAMPLES).alias("examples"),
        )
        .with_columns(pl.col("total_ns").rank("ordinal", descending=True).over("parent_line").alias("rank"))
    )


def _line(
    number: int,
    row: Mapping[str, Any],
    below: Mapping[int, list[tuple[int, Mapping[str, Any]]]],
    omitted: Mapping[int, int],
    whole: int,
    zero: int,
) -> Line:
    examples = [_example(entry, zero) for entry in row["examples"]]
    shared: list[tuple[str, str]] = []
    if len(examples) > 1:
        shared = [pair for pair in examples[0].attributes if all(pair in entry.attributes for entry in examples)]
        examples = [
            replace(entry, attributes=[pair for pair in entry.attributes if pair not in shared]) for entry in examples
        ]
    return Line(
        name=row["name"],
        level=row["level"],
        count=row["count"],
        total_ns=row["total_ns"],
        median_ns=row["median_ns"],
        share=min(100.0, 100 * row["total_ns"] / whole),
        failed=row["failed"],
        attributes=shared,
        examples=examples,
        children=[_line(child, entry, below, omitted, whole, zero) for child, entry in below.get(number, [])],
        omitted=omitted.get(number, 0),
    )


def _example(span: Mapping[str, Any], zero: int) -> Example:
    return Example(
        offset_ns=span["start_ns"] - zero,
        duration_ns=span["duration_ns"],
        failed=span["status"] == "error",
        message=span["status_message"] or "",
        attributes=attribute_pairs(span["attributes"]),
    )


def attribute_pairs(text: str | None) -> list[tuple[str, str]]:
    """Attributes from their JSON text; text that is no JSON object is shown as it stands."""
    if not text:
        return []
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        return [("attributes", text)]
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in found.items()]
