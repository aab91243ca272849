"""Parquet files that are whole or refused. Imports polars; import this module where frames are used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from mlms.errors import Place, StorageError
from mlms.storage import reading, writing

ROW_GROUP = 1 << 16
"""Rows that are written, and can be read, without the others."""


def write(frame: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a frame with zstd compression; ``metadata`` becomes the file's key-value metadata.

    Raises:
        StorageError: the place can't be written (missing, read-only, full).
    """
    with writing(path), _whole(path), path.open("wb") as file, _refused():
        frame.write_parquet(file, compression="zstd", row_group_size=ROW_GROUP, metadata=dict(metadata or {}))


def join(paths: Sequence[Path], path: Path, metadata: Mapping[str, str]) -> None:
    """Write the rows of several files of the same columns into one, in their order.

    Raises:
        StorageError: the place can't be written.
    """
    rows = pl.concat([pl.scan_parquet(part) for part in paths])
    with writing(path), _whole(path), path.open("wb") as file, _refused():
        rows.sink_parquet(file, compression="zstd", row_group_size=ROW_GROUP, metadata=dict(metadata))


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """A file that fails is removed, and gives its space back."""
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _refused() -> Iterator[None]:
    """polars hands on what the system said only as text."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        said = re.search(r"os error (\d+)", str(error))
        if said is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1]))) from error


def read(path: Path, schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None) -> pl.DataFrame:
    """Read a whole frame; with ``schema`` its columns must be exactly these.

    Raises:
        StorageError: the file is missing, can't be read, is cut off or not Parquet, or has other columns.
    """
    with _reading(path):
        frame = pl.read_parquet(path)
    _check(frame.schema, schema, path)
    return frame


def read_parts(
    path: Path, schema: Mapping[str, pl.DataType | type[pl.DataType]], columns: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    """The same, ``ROW_GROUP`` rows at a time and only ``columns`` of them: in memory that doesn't grow with the file.

    Raises:
        StorageError: as ``read``; a damaged part is found when its turn comes.
    """
    with _reading(path):
        rows = pl.scan_parquet(path)
        _check(rows.collect_schema(), schema, path)
    for first in range(0, height(path), ROW_GROUP):
        with _reading(path):
            part = rows.slice(first, ROW_GROUP).select(columns or list(schema)).collect()
        yield part


def height(path: Path) -> int:
    """The number of rows.

    Raises:
        StorageError: as ``read``.
    """
    with _reading(path):
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what polars says of a file into a StorageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError("this file is missing", place=Place(path)) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        with reading(path), path.open("rb"):  # where it isn't the file's content that is at fault
            pass
        raise StorageError(
            f"this Parquet file is cut off or damaged: {str(error).splitlines()[0]}",
            place=Place(path),
            hint="copy it again from where it came, or repeat the run",
        ) from error


def _check(found: pl.Schema, schema: Mapping[str, pl.DataType | type[pl.DataType]] | None, path: Path) -> None:
    if schema is not None and dict(found) != dict(schema):
        raise StorageError(
            f"this file has the columns {', '.join(found)}; expected {', '.join(schema)}",
            place=Place(path),
            hint="it was written by another program, or by a version of mlms with another format",
        )


def metadata(path: Path) -> dict[str, str]:
    """Key-value metadata of a file.

    Raises:
        StorageError: as ``read``.
    """
    with _reading(path):
        return pl.read_parquet_metadata(path)
