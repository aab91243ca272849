"""Parquet files that are whole or refused. Imports polars; import this module where frames are used."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from mlms.errors import Place, StorageError
from mlms.tracing.storage import writing


def write(frame: pl.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a frame with zstd compression; ``metadata`` becomes the file's key-value metadata.

    Raises:
        StorageError: the place can't be written (missing, read-only, full).
    """
    with writing(path), path.open("wb") as file:
        try:
            frame.write_parquet(file, compression="zstd", metadata=dict(metadata or {}))
        except pl.exceptions.PolarsError as error:
            # polars hands on what the system said only as text.
            said = re.search(r"os error (\d+)", str(error))
            if said is None:
                raise
            raise OSError(int(said[1]), os.strerror(int(said[1]))) from error


def read(path: Path, schema: Mapping[str, pl.DataType | type[pl.DataType]] | None = None) -> pl.DataFrame:
    """Read a whole frame; with ``schema`` its columns must be exactly these.

    Raises:
        StorageError: the file is missing, cut off, not Parquet, or has other columns.
    """
    try:
        frame = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise StorageError("this file is missing", place=Place(path)) from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageError(
            f"this Parquet file is cut off or damaged: {str(error).splitlines()[0]}",
            place=Place(path),
            hint="copy it again from where it came, or repeat the run",
        ) from error
    if schema is not None and dict(frame.schema) != dict(schema):
        raise StorageError(
            f"this file has the columns {', '.join(frame.columns)}; expected {', '.join(schema)}",
            place=Place(path),
            hint="it was written by another program, or by a version of mlms with another format",
        )
    return frame


def metadata(path: Path) -> dict[str, str]:
    """Key-value metadata of a file that ``read`` accepts."""
    return pl.read_parquet_metadata(path)
