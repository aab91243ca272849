"""``table``: one sample a row of a CSV, TSV or JSONL file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlms.builtins.readers.location import data_path, dataset_of
from mlms.builtins.readers.rows import JSON_LINES, Row, read_rows
from mlms.builtins.readers.targets import INTEGER, class_indices
from mlms.errors import DataError
from mlms.hooks import Component, Context, Dataset, Sample

Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Table:
    """Samples whose values, and targets where there are any, are strings or numbers."""

    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def make(options: Mapping[str, Any], context: Context) -> Dataset:
    """Read the whole file.

    A CSV column is of numbers if all its cells are; JSONL says itself. Without an ``id`` column a sample's id is the
    number of its row, from 0. Where the dataset declares labels, targets become indices into them.

    Raises:
        DataError: the file is missing or malformed, a column is missing, a cell is neither string nor number, a
            target is no label, or two rows have one id.
    """
    path = data_path(context, "file")
    rows = read_rows(path)
    typed = path.suffix.lower() in JSON_LINES
    values = _column(rows, options["value"], typed)
    targets: Sequence[Any] = [None] * len(rows)
    if "target" in options:
        targets = _column(rows, options["target"], typed)
        if labels := dataset_of(context).labels:
            targets = class_indices(targets, labels, [row.place for row in rows])
    ids = _ids(rows, options.get("id"))
    return Table(tuple(map(Sample, ids, values, targets)))


def _column(rows: Sequence[Row], name: str, typed: bool) -> list[Cell]:
    cells = [row[name] for row in rows]
    if not typed:
        return _parsed(cells)
    for row, cell in zip(rows, cells, strict=True):
        if isinstance(cell, bool) or not isinstance(cell, (str, int, float)):
            raise DataError(
                f"'{name}' must be a string or a number, not {type(cell).__name__}",
                place=row.place,
                hint="give each row one string or number in this column",
            )
    return cells


def _parsed(cells: list[str]) -> list[Cell]:
    try:
        if all(INTEGER.fullmatch(cell) for cell in cells):
            return [int(cell) for cell in cells]
        numbers = [float(cell) for cell in cells]
    except ValueError:  # text, or more digits than Python makes a number of
        return list(cells)
    plain = all(math.isfinite(number) for number in numbers) and not any(_is_code(cell) for cell in cells)
    return list(numbers) if plain else list(cells)


def _is_code(cell: str) -> bool:
    """Whether a cell that float() takes is rather a code such as 007 or 1_000, to be kept as it is written."""
    digits = cell.strip().lstrip("+-")
    return "_" in cell or (len(digits) > 1 and digits[0] == "0" and digits[1].isdigit())


def _ids(rows: Sequence[Row], column: str | None) -> list[str]:
    if column is None:
        return [str(number) for number in range(len(rows))]
    seen: dict[str, Row] = {}
    for row in rows:
        text = str(row[column])
        if text in seen:
            raise DataError(
                f"the id '{text}' is also that of line {seen[text].place.line}",
                place=row.place,
                hint="give each row an id of its own, or leave the option id out to number the rows",
            )
        seen[text] = row
    return list(seen)


COMPONENT: Component[Dataset] = Component(
    name="table",
    make=make,
    summary="one sample a row of a CSV, TSV or JSONL file",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["value"],
        "properties": {
            "value": {"type": "string", "description": "the column of the values"},
            "target": {"type": "string", "description": "the column of the targets; without it there are none"},
            "id": {"type": "string", "description": "the column of the ids; without it rows are numbered from 0"},
        },
    },
)
