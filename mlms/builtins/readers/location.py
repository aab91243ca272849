"""Where a dataset's files lie."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Literal

from mlms.errors import DataError, Place
from mlms.hooks import Context
from mlms.manifests.types import DatasetAsset

MEND = "name the place of the data (a manifest's dataset: {name, path}, or --dataset-path), or put it below $MLMS_DATA"


def dataset_of(context: Context) -> DatasetAsset:
    """The dataset that a reader is made for.

    Raises:
        DataError: there is none.
    """
    if context.dataset is None:
        raise DataError("a dataset reader needs a dataset asset", hint="name a dataset in the manifest")
    return context.dataset


def data_path(context: Context, wanted: Literal["file", "directory"]) -> Path:
    """The existing file or directory that holds the dataset.

    Raises:
        DataError: the dataset has no path, or there is no such file or directory at it.
    """
    dataset = dataset_of(context)
    if dataset.path is None:
        raise DataError(f"dataset '{dataset.name}' has no path to its data", hint=MEND)
    found = dataset.path.is_dir() if wanted == "directory" else dataset.path.is_file()
    if not found:
        problem = f"is not a {wanted}" if dataset.path.exists() else "does not exist"
        raise DataError(f"the data of dataset '{dataset.name}' {problem}", place=Place(dataset.path), hint=MEND)
    return dataset.path


def inside(root: Path, relative: str, place: Place) -> PurePosixPath:
    """``relative`` as a path below ``root`` of a file that exists.

    Raises:
        DataError: it is absolute, leads out of ``root``, or there is no such file; ``place`` is where it is written.
    """
    path = PurePosixPath(relative)
    if not relative or path.is_absolute() or ".." in path.parts or "\\" in relative or ":" in path.parts[0]:
        raise DataError(
            f"'{relative}' is no path below the dataset's directory",
            place=place,
            hint="write paths relative to the dataset's directory, with /",
        )
    if not (root / path).is_file():
        raise DataError(f"there is no file '{relative}' in {root}", place=place, hint=MEND)
    return path
