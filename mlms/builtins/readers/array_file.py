"""``array_file``: samples along the first axis of arrays in an npz or safetensors file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.readers.location import data_path, dataset_of
from mlms.errors import DataError, Place
from mlms.hooks import Component, Context, Dataset, Sample
from mlms.manifests.types import DatasetAsset

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """``values`` of shape (samples, ...), and as many ``targets``; ids are the positions."""

    values: Array
    targets: Array | None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.values):
            raise IndexError(index)
        return Sample(str(index), self.values[index], None if self.targets is None else _plain(self.targets[index]))


def _plain(target: Any) -> Any:
    return target.item() if np.ndim(target) == 0 else target


def make(options: Mapping[str, Any], context: Context) -> Dataset:
    """Read the named arrays. Pickled objects are refused.

    Raises:
        DataError: the file is missing or damaged, has no such array, or the arrays don't fit each other or the labels.
    """
    path = data_path(context, "file")
    names = [options[key] for key in ("values", "targets") if key in options]
    arrays = _read(path, names)
    values, targets = arrays[0], arrays[1] if len(arrays) > 1 else None
    if values.ndim == 0 or len(values) == 0:
        raise DataError(f"the array '{names[0]}' holds no samples: its shape is {values.shape}", place=Place(path))
    if targets is not None:
        if targets.ndim == 0 or len(targets) != len(values):
            raise DataError(
                f"'{names[0]}' and '{names[1]}' must have as many entries, but have the shapes {values.shape} and"
                f" {targets.shape}",
                place=Place(path),
            )
        _check_labels(targets, dataset_of(context), path)
    for array in arrays:
        array.flags.writeable = False  # samples are views: what one reader changed, every later one would see
    return ArrayFile(values, targets)


def _read(path: Path, names: list[str]) -> list[Array]:
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix.lower() not in readers:
        raise DataError(
            f"'{path.suffix}' is no array format known here", place=Place(path), hint=f"use {' or '.join(readers)}"
        )
    return readers[path.suffix.lower()](path, names)


def _read_npz(path: Path, names: list[str]) -> list[Array]:
    with _telling_damage(path):
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise DataError("this is one array without a name (.npy)", place=Place(path), hint="save it by numpy.savez")
        with found as file:
            _check_names(path, names, file.files)
            return [file[name] for name in names]


def _read_safetensors(path: Path, names: list[str]) -> list[Array]:
    from safetensors import safe_open

    with _telling_damage(path), safe_open(path, framework="numpy") as file:
        _check_names(path, names, list(file.keys()))
        return [file.get_tensor(name) for name in names]


def _check_names(path: Path, names: list[str], found: list[str]) -> None:
    for name in names:
        if name not in found:
            raise DataError(
                f"there is no array '{name}'", place=Place(path), hint=f"the arrays here are: {', '.join(found)}"
            )


@contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    """Have what a file makes its reader raise name the file.

    That is most kinds of exception: the parsers of zipfile and NumPy trip over a damaged header wherever they are.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(
            f"the file can't be read: {said}",
            place=Place(path),
            hint="it may be cut off or hold pickled objects; save it again as plain arrays",
        ) from error


def _check_labels(targets: Array, dataset: DatasetAsset, path: Path) -> None:
    if dataset.labels is None or targets.dtype.kind not in "iu":
        return
    least, most = int(targets.min()), int(targets.max())
    if least < 0 or most >= len(dataset.labels):
        raise DataError(
            f"labels don't fit: the targets go from {least} to {most}, but dataset '{dataset.name}' has"
            f" {len(dataset.labels)} labels",
            place=Place(path),
            hint="name the label list that belongs to the data",
        )


COMPONENT: Component[Dataset] = Component(
    name="array_file",
    make=make,
    summary="arrays in an npz or safetensors file, one sample an entry of the first axis",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["values"],
        "properties": {
            "values": {"type": "string", "description": "the array of the values"},
            "targets": {"type": "string", "description": "the array of the targets; without it there are none"},
        },
    },
)
