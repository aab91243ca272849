"""``image_folder``: image files in a directory, one directory a class, or listed in an index."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlms.builtins.readers.location import MEND, data_path, dataset_of, inside
from mlms.builtins.readers.rows import read_rows
from mlms.builtins.readers.targets import class_indices
from mlms.errors import DataError, Place
from mlms.hooks import Component, Context, Dataset, Sample

EXTENSIONS = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
"""Of the formats that ``decode_image`` reads; other files are left out."""


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Image files by path: a sample's value is the file's Path, its id the path below ``root``."""

    root: Path
    files: tuple[PurePosixPath, ...]
    targets: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(self.files[index]), self.root / self.files[index], self.targets[index])


def make(options: Mapping[str, Any], context: Context) -> Dataset:
    """List the directory, or its index, in an order that is the same everywhere.

    Class directories stand for the dataset's labels by name, or else for its classes in sorted order. Images that lie
    in no class directory have no target.

    Raises:
        DataError: the directory is missing, holds no images, or does not fit the dataset's labels; or the index names
            a file that is missing or a label that is not declared.
    """
    root = data_path(context, "directory")
    labels = dataset_of(context).labels
    if "index" in options:
        return _indexed(root, options["index"], labels)
    files = sorted(_images(root), key=lambda file: file.parts)
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
    return ImageFolder(root, tuple(files), tuple(classes[file.parts[0]] for file in files))


def _images(root: Path) -> Iterator[PurePosixPath]:
    """Paths below ``root`` of all image files; links to directories are followed, but round in circles only once."""
    seen = {_identity(root)}
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        below = Path(folder).relative_to(root)
        kept = []
        for name in sorted(folders):
            identity = _identity(Path(folder, name))
            if not name.startswith(".") and identity not in seen:
                seen.add(identity)
                kept.append(name)
        folders[:] = kept
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS:
                yield PurePosixPath(below.as_posix(), name)


def _identity(directory: Path) -> tuple[int, int]:
    status = directory.stat()
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    raise DataError(f"the directory can't be read: {error.strerror}", place=Place(error.filename)) from error


def _class_directories(root: Path, labels: tuple[str, ...] | None) -> dict[str, int]:
    """The class index of each directory in ``root``; one that is empty keeps its class too."""
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if labels is not None and set(names) <= set(labels):
        places = [Place(root / name) for name in names]
        return dict(zip(names, class_indices(names, labels, places), strict=True))
    if labels is not None and len(names) != len(labels):
        stranger = next(name for name in names if name not in labels)
        raise DataError(
            f"labels don't fit: there are {len(names)} class directories, but the dataset has {len(labels)} labels"
            f" and '{stranger}' is none of them",
            place=Place(root),
            hint="name the directories after the labels, or have one for each label in the order of their indices",
        )
    return {name: index for index, name in enumerate(names)}


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
    return ImageFolder(root, tuple(lines), tuple(class_indices(names, labels, [row.place for row in rows])))


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
