"""YAML files into plain data, and keys of that data back into places in the file."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, NoReturn

from mlms.errors import DocumentError, Place, Problem, StorageError

if TYPE_CHECKING:
    from mlms.manifests.yaml12 import Positions

MAX_BYTES = 4 * 2**20
INLINE = "<inline>"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document read: its file (None for text without one), its mapping, the SHA-256 of its bytes."""

    path: Path | None
    data: dict[str, Any]
    digest: str
    name: str = INLINE
    """What errors call it when it has no file."""
    text: str | None = field(default=None, repr=False)
    """Kept only where there is no file to look positions up in."""

    def place(self, pointer: Sequence[str | int] = (), key: bool = False) -> Place:
        """Where the value (or its key) at ``pointer`` stands."""
        if self.path is not None:
            return place_of(self.path, pointer, key=key)
        return _locate(self.name, {} if self.text is None else _positions(self.text), pointer, key)


def read_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        StorageError: it can't be read.
        DocumentError: it is not UTF-8, too large, empty, not valid YAML or no mapping.
    """
    content = _read(path)
    data = _parse(_decode(content, path), path)
    return Document(path, data, hashlib.sha256(content).hexdigest())


def parse_document(text: str, name: str = INLINE) -> Document:
    """Read YAML from text; ``name`` stands for the file in errors.

    Raises:
        DocumentError: as ``read_document``.
    """
    content = text.encode("utf-8", "surrogatepass")
    text = _decode(content, name)
    return Document(None, _parse(text, name), hashlib.sha256(content).hexdigest(), name, text)


def place_of(path: Path, pointer: Sequence[str | int] = (), *, key: bool = False) -> Place:
    """Where the value (or its key) at ``pointer`` stands; the nearest thing around it where it isn't there.

    Reads the file once more, for all of its places: they are wanted only when something is wrong.
    """
    try:
        status = path.stat()
        # A pipe can't be read again.
        positions = _positions_in(path, status.st_size, status.st_mtime_ns) if S_ISREG(status.st_mode) else {}
    except (OSError, StorageError, DocumentError, UnicodeDecodeError):  # changed since; the file alone must do
        return Place(path)
    return _locate(path, positions, pointer, key)


@functools.lru_cache(maxsize=2)
def _positions_in(path: Path, size: int, modified: int) -> Positions:
    return _positions(_read(path).decode("utf-8-sig"))


@functools.lru_cache(maxsize=2)
def _positions(text: str) -> Positions:
    from mlms.manifests.yaml12 import load

    positions: Positions = {}
    with suppress(DocumentError):  # changed since; what was read up to the problem still has its positions
        load(text, INLINE, positions)
    return positions


def _locate(file: Path | str, positions: Positions, pointer: Sequence[str | int], key: bool) -> Place:
    wanted = tuple(pointer)
    around = [(wanted[:end], False) for end in range(len(wanted), -1, -1)]
    found = next((positions[at] for at in [(wanted, key), *around] if at in positions), ())
    return Place(file, *found)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_opened) as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise StorageError("no such file", place=Place(path)) from None
    except IsADirectoryError:
        raise StorageError("this is a directory, not a YAML file", place=Place(path)) from None
    except OSError as error:
        raise StorageError(f"can't be read: {error.strerror}", place=Place(path)) from error
    if len(content) > MAX_BYTES:
        _fail(path, f"larger than {MAX_BYTES // 2**20} MiB", "keep data in files of its own and name them here")
    return content


def _opened(path: str, flags: int) -> int:
    """Open without waiting for a named pipe's writer; one that is there (``<(...)`` in a shell) is read to its end."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor


def _decode(content: bytes, file: Path | str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = Place(file, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        message = f"not UTF-8 text (byte 0x{content[error.start]:02x})"
        raise DocumentError([Problem(place, "", message, "save the file as UTF-8")]) from None


def _parse(text: str, file: Path | str) -> dict[str, Any]:
    from mlms.manifests.yaml12 import load

    data = load(text, file)
    if data is None:
        _fail(file, "the document is empty", "start it with 'kind:' and 'name:'")
    if not isinstance(data, dict):
        _fail(file, "the document must be a mapping", "start it with 'kind:' and 'name:'")
    return data


def _fail(file: Path | str, message: str, hint: str) -> NoReturn:
    raise DocumentError([Problem(Place(file), "", message, hint)])
