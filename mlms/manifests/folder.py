"""One folder of a catalog: which YAML files lie in it now, read and checked, and what of that is remembered."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from mlms.errors import DocumentError, Place, Problem, StorageError

SKIPPED = ("data", "labels")
"""Directories that hold no assets, besides hidden ones."""
SETTLED_NS = 20_000_000
"""A file changed so shortly ago may change again within one tick of its clock, so it isn't remembered yet."""

Stamp = tuple[int, int]
"""Size and time of last change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was read: its data, or what is wrong with it (then ``data`` is as much as is known)."""

    path: Path
    root: Path
    data: dict[str, Any]
    error: DocumentError | None = None


class Folder:
    """The assets below ``root``. Memory of what was read is kept in this object and in ``cache`` (a directory)."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root = root
        self._cache = cache / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"
        self._known: dict[str, tuple[Stamp, Found]] | None = None
        self._kept: dict[str, Stamp] = {}

    def files(self) -> tuple[Found, ...]:
        """Every YAML file as it is now, in the order of paths; only what changed is read again."""
        if self._known is None:
            self._known = self._recall()
            self._kept = {path: stamp for path, (stamp, _) in self._known.items()}
        known: dict[str, tuple[Stamp, Found]] = {}
        result = []
        for path, stamp in sorted(_walk(str(self.root))):
            item = self._known.get(path)
            if item is None or item[0] != stamp:
                try:
                    item = (stamp, _read(Path(path), self.root))
                except FileNotFoundError:  # removed since it was listed
                    continue
            result.append(item[1])
            if time.time_ns() - stamp[1] > SETTLED_NS:
                known[path] = item
        self._known = known
        # A broken file is read again by the next process: its error needs places, and nobody has many of them.
        keep = {path: item for path, item in known.items() if item[1].error is None}
        stamps = {path: stamp for path, (stamp, _) in keep.items()}
        if stamps != self._kept:
            self._kept = stamps
            self._keep([(path, *stamp, found.data) for path, (stamp, found) in keep.items()])
        return tuple(result)

    def _recall(self) -> dict[str, tuple[Stamp, Found]]:
        try:
            digest, _, content = self._cache.read_bytes().partition(b"\n")
        except OSError:  # none yet, or not ours to read
            return {}
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return {}
        key, files = json.loads(content)
        if key != _cache_key():
            return {}
        return {path: ((size, time), Found(Path(path), self.root, data)) for path, size, time, data in files}

    def _keep(self, files: list[tuple[str, int, int, dict[str, Any]]]) -> None:
        content = json.dumps([_cache_key(), files], separators=(",", ":")).encode()
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._cache.parent, prefix=".catalog-")
        except OSError:  # a read-only cache costs time only
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            Path(name).replace(self._cache)
        except OSError:  # full, or gone
            Path(name).unlink(missing_ok=True)


def _cache_key() -> str:
    """Changes with mlms and with the schemas, so that what an older one checked is checked again."""
    from mlms import __version__

    digest = hashlib.sha256(__version__.encode())
    for file in sorted((Path(__file__).parent / "schemas").glob("*.json")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _walk(folder: str) -> Iterator[tuple[str, Stamp]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in SKIPPED:
                        yield from _walk(entry.path)
                elif entry.name.endswith((".yaml", ".yml")):
                    try:
                        stat = entry.stat()
                    except OSError:  # removed since, or a link to nowhere
                        continue
                    if S_ISREG(stat.st_mode):  # a pipe would be waited for
                        yield entry.path, (stat.st_size, stat.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # may come, or become readable, later
        return


def _read(path: Path, root: Path) -> Found:
    from mlms.manifests.reader import read_document
    from mlms.manifests.schema import check
    from mlms.manifests.types import KINDS

    known: dict[str, Any] = {"name": path.stem}
    try:
        document = read_document(path)
        known |= {key: value for key, value in document.data.items() if isinstance(value, str)}
        check(document)
    except DocumentError as error:
        return Found(path, root, known, error)
    except StorageError as error:
        if not path.exists():
            raise FileNotFoundError(path) from error
        return Found(path, root, known, DocumentError([Problem(Place(path), "", error.message)]))
    kind = document.data["kind"]
    if kind not in KINDS:
        hint = f"an asset folder holds {', '.join(KINDS)}; keep a {kind} elsewhere"
        return Found(
            path,
            root,
            known,
            DocumentError([Problem(document.place(("kind",)), "kind", f"a {kind} is no asset", hint)]),
        )
    return Found(path, root, document.data)
