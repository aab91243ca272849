"""Aligned text, one line a row."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click


def aligned(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Aligned text, the last column cut to a terminal's width and whole in a pipe."""
    if not rows:
        click.echo("nothing found", err=True)
        return
    cells = [[str(row[column] or "") for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in [list(columns), *cells]) for index in range(len(columns) - 1)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for line in [[column.upper() for column in columns], *cells]:
        start = "  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=False))
        yield f"{start}  {line[-1]}".rstrip()[:width]
