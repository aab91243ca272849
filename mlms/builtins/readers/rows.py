"""Rows of a CSV, TSV or JSONL file, each with the line it stands on."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlms.errors import DataError, Place

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITERS, *JSON_LINES)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its cells by column, and its place in the file."""

    place: Place
    cells: Mapping[str, Any]

    def __getitem__(self, column: str) -> Any:
        """The cell of a column.

        Raises:
            DataError: the row has no such column.
        """
        if column not in self.cells:
            columns = ", ".join(self.cells) or "none"
            raise DataError(f"there is no column '{column}'", place=self.place, hint=f"the columns here are: {columns}")
        return self.cells[column]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file, whose suffix tells its format. CSV and TSV cells are strings, JSONL cells what JSON says.

    A double quote begins a quoted cell in CSV (RFC 4180) and is a character like any other in TSV, whose cells hold
    neither tabs nor line breaks (IANA's text/tab-separated-values).

    Raises:
        DataError: the file can't be read, is not UTF-8, is malformed (with its line), or has no rows.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"'{path.suffix}' is no table format known here", place=Place(path), hint=f"use {', '.join(SUFFIXES)}"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _json_lines(file, path) if suffix in JSON_LINES else _csv(file, path, DELIMITERS[suffix])
            rows = list(lines)
    except UnicodeDecodeError as error:
        raise DataError("the file is not UTF-8 text", place=Place(path), hint="save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"the file can't be read: {error.strerror}", place=Place(path)) from error
    if not rows:
        raise DataError("the file has no rows", place=Place(path))
    return rows


def _csv(lines: Iterator[str], path: Path, delimiter: str) -> Iterator[Row]:
    quoted = delimiter == ","
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=quoting)
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise DataError("two columns have the same name", place=Place(path, 1), hint="name each column once")
        start = reader.line_num + 1
        for cells in reader:
            place, start = Place(path, start), reader.line_num + 1
            if not cells:
                continue  # a blank line
            if len(cells) != len(header):
                raise DataError(
                    f"the row has {len(cells)} cells, but the first line names {len(header)} columns",
                    place=place,
                    hint='put cells that hold "," in double quotes' if quoted else "write no tabs within cells",
                )
            yield Row(place, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(
            f"malformed {'CSV' if quoted else 'TSV'}: {error}",
            place=Place(path, max(reader.line_num, 1)),
            hint="check the quotes" if quoted else "check the tabs",
        ) from error


def _json_lines(lines: Iterator[str], path: Path) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            column = error.colno if isinstance(error, json.JSONDecodeError) else None
            raise DataError(
                "malformed JSON", place=Place(path, number, column), hint="write one JSON object on each line"
            ) from error
        if not isinstance(cells, dict):
            raise DataError(
                "the line is no JSON object", place=Place(path, number), hint='write {"column": value, ...}'
            )
        yield Row(Place(path, number), cells)
