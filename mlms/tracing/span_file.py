"""``spans.parquet`` written from tables that come one after another, in memory that doesn't grow with them.

Imports polars; import this module where spans are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from mlms.tracing import parquet
from mlms.tracing.spans import SpanTable, concat, resource_metadata

MOST_ROWS = 1 << 20
"""Spans that are held in memory at once, some hundred bytes each."""


def write_tables(
    tables: Iterable[SpanTable], resource: Mapping[str, Any], path: Path, folder: Path, most_rows: int = MOST_ROWS
) -> None:
    """Write all spans by start time, as ``concat`` orders them.

    Beyond ``most_rows`` they go through files in ``folder``.

    Raises:
        StorageError: a place can't be written.
    """
    held: list[SpanTable] = []
    pieces: list[Path] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) > most_rows:
            pieces.append(_piece(held, folder, len(pieces)))
            held = []
    if not pieces:
        concat(held, resource).write(path)
        return
    pieces.append(_piece(held, folder, len(pieces)))
    windows = [
        _written(window, folder / f"window-{number}.parquet")
        for number, window in enumerate(_windows(pieces, most_rows))
    ]
    parquet.join(windows, path, resource_metadata(resource))


def _piece(tables: Iterable[SpanTable], folder: Path, number: int) -> Path:
    return _written(concat(tables).frame, folder / f"piece-{number}.parquet")


def _written(frame: pl.DataFrame, path: Path) -> Path:
    parquet.write(frame, path)
    return path


def _windows(pieces: Iterable[Path], rows: int) -> Iterator[pl.DataFrame]:
    """The spans of all pieces that start in one stretch of time after another, about so many ``rows`` each."""
    scans = [pl.scan_parquet(piece) for piece in pieces]
    starts = pl.concat([scan.select("start_ns") for scan in scans]).collect()["start_ns"].sort()
    bounds = starts.gather_every(rows).unique(maintain_order=True).to_list()
    del starts
    for low, high in zip_longest(bounds, bounds[1:]):
        inside = pl.col("start_ns") >= low
        if high is not None:
            inside &= pl.col("start_ns") < high
        yield concat(SpanTable(scan.filter(inside).collect()) for scan in scans).frame
