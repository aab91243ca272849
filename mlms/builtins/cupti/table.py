"""Attributes of many spans by column: rows are made only while they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Attributes(Sequence[Mapping[str, Any]]):
    """``columns`` has an array for each attribute, all of shape (rows, ...); None in one of objects is no attribute."""

    columns: Mapping[str, npt.NDArray[Any]]
    rows: int

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Attributes: ...

    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Attributes:
        if isinstance(index, slice):
            columns = {key: column[index] for key, column in self.columns.items()}
            return Attributes(columns, len(range(*index.indices(self.rows))))
        if not -self.rows <= index < self.rows:
            raise IndexError(index)
        return next(iter(self[index % self.rows : index % self.rows + 1]))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for first in range(0, self.rows, _CHUNK):
            lists = [column[first : first + _CHUNK].tolist() for column in self.columns.values()]
            for values in zip(*lists, strict=True):
                row = zip(self.columns, values, strict=True)
                yield {key: value for key, value in row if value is not None}

    def with_columns(self, columns: Mapping[str, npt.NDArray[Any]]) -> Attributes:
        """These columns too."""
        return Attributes({**self.columns, **columns}, self.rows)


def constant(value: Any, rows: int) -> npt.NDArray[Any]:
    """A column that has the same value in every row, kept once."""
    return np.broadcast_to(np.array(value, dtype=object), (rows,))


def where(present: npt.NDArray[np.bool_], values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A column that has no value in the rows that aren't ``present``."""
    column = values.astype(object)
    column[~present] = None
    return column


def chosen(texts: Sequence[str | None], index: npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
    """A column of texts by their positions in ``texts``."""
    column: npt.NDArray[Any] = np.array([*texts, None], dtype=object)[index]
    return column
