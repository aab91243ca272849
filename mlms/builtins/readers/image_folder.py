"""``image_folder``: image files in a directory, one directory a class, or listed in an index."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlms.builtins.readers.location import MEND, data_path, dataset_of, inside
from mlms.builtins.readers.rows import read_rows
from mlms.builtins.readers.targets import by_name, by_number, class_indices
from mlms.errors import DataError, Place
from mlms.hooks import Component, Context, Dataset, Sample

EXTENSIONS = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
"""Of the formats that ``decode_image`` reads; other files are left out."""

NUMBER = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Image files by path: a sample's value is the file's Path, its id the path below ``root``.

    ``classes`` are the names that the targets were numbered by, where no labels are declared.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    targets: tuple[int | None, ...]
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(self.files[index]), self.root / self.files[index], self.targets[index])


def make(options: Mapping[str, Any], context: Context) -> Dataset:
    """List the directory, or its index, in an order that is the same everywhere.

    Class directories stand for the dataset's labels by name, or by their indices where all are named by a number, or
    else for its classes in sorted order. Images that lie in no class directory have no target.

    Raises:
        DataError: the directory is missing, holds no images, or does not fit the dataset's labels; or the index names
            a file that is missing or a label that is not declared.
    """
    root = data_path(context, "directory")
    labels = dataset_of(context).labels
    if "index" in options:
        return _indexed(root, options["index"], labels)
    files = sorted(_images(root, PurePosixPath(), frozenset()), key=lambda file: file.parts)
    if not files:
        raise DataError(f"there are no images ({', '.join(EXTENSIONS)})", place=Place(root), hint=MEND)
    loose = [file for file in files if len(file.parts) == 1]
    if len(loose) == len(files):
        return ImageFolder(root, tuple(files), (None,) * len(files))
    if loose:
        raise DataError(
            f"'{loose[0]}' lies beside class directories, so its class is unknown",
            place=Place(root),
            hint="move it into a directory of its class, or list the files in an index",
        )
    classes = _class_directories(root, labels)
    targets = tuple(classes[file.parts[0]] for file in files)
    return ImageFolder(root, tuple(files), targets, _found(classes, labels))


def _images(root: Path, below: PurePosixPath, above: frozenset[tuple[int, int]]) -> Iterator[PurePosixPath]:
    """Paths below ``root`` of all image files in ``root / below``; ``above`` are the directories that it lies in.

    Links to directories are followed, also several to one, but never back to a directory that the link lies in.
    """
    folder = root / below
    above |= {_identity(folder)}
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"the directory can't be read: {error.strerror}", place=Place(folder)) from error
    for entry in entries:
        if entry.is_dir():
            if _identity(folder / entry.name) not in above:
                yield from _images(root, below / entry.name, above)
        elif Path(entry.name).suffix.lower() in EXTENSIONS:
            yield below / entry.name


def _identity(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def _class_directories(root: Path, labels: tuple[str, ...] | None) -> dict[str, int]:
    """The class index of each directory in ``root``; one that is empty keeps its class too."""
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    places = [Place(root / name) for name in names]
    indices: Sequence[int] = range(len(names))
    if labels is not None and set(names) <= set(labels):
        indices = by_name(names, labels, places)
    elif _numbers(names):  # in sorted order 10 would come before 2
        indices = by_number(names, labels, places)
    elif labels is not None and len(names) != len(labels):
        stranger = next(name for name in names if name not in labels)
        raise DataError(
            f"labels don't fit: there are {len(names)} class directories, but the dataset has {len(labels)} labels"
            f" and '{stranger}' is none of them",
            place=Place(root),
            hint="name the directories after the labels or their indices, or have one for each label in their order",
        )
    return dict(zip(names, indices, strict=True))


def _indexed(root: Path, index: str, labels: tuple[str, ...] | None) -> ImageFolder:
    file = root / inside(root, index, Place(root))
    if file.suffix.lower() != ".csv":
        raise DataError("an index is a CSV file", place=Place(file), hint="with the columns file,label")
    rows = read_rows(file)
    lines: dict[PurePosixPath, int | None] = {}
    for row in rows:
        path = inside(root, row["file"], row.place)
        if path in lines:
            raise DataError(f"'{path}' is already on line {lines[path]}", place=row.place, hint="list each file once")
        lines[path] = row.place.line
    names = [row["label"] for row in rows]
    targets = class_indices(names, labels, [row.place for row in rows])
    return ImageFolder(root, tuple(lines), tuple(targets), _found(names, labels))


def _numbers(names: Iterable[str]) -> bool:
    return all(NUMBER.fullmatch(name) for name in names)


def _found(names: Iterable[str], labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names in their order, which is all that numbers them where neither labels nor numbers do; else None."""
    return None if labels is not None or _numbers(names) else tuple(sorted(set(names)))


COMPONENT: Component[Dataset] = Component(
    name="image_folder",
    make=make,
    summary="image files: a directory for each class, or an index CSV; unlabelled without either",
    options={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "index": {
                "type": "string",
                "description": "a CSV in the directory with the columns file,label (a label or its index)",
            }
        },
    },
)
