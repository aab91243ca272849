"""What the system refuses to read or write, told with its place and mend; and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlms.errors import Place, StorageError

_HINTS = {
    errno.ENOSPC: "free some space, or choose another disk with --output or MLMS_RUNS",
    errno.EDQUOT: "free some of your quota, or choose another disk with --output or MLMS_RUNS",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or choose another folder with --output or MLMS_RUNS",
}
_ELSEWHERE = "choose another folder with --output or MLMS_RUNS"


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError at the file that the system names, else at ``place``."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, _ELSEWHERE)
        raise _at(place, "can't write here", error, hint) from error


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Turn an OSError into a StorageError at the file that the system names, else at ``place``."""
    try:
        yield
    except OSError as error:
        raise _at(place, "can't be read", error) from error


def _at(place: Path, what: str, error: OSError, hint: str | None = None) -> StorageError:
    file = Path(error.filename) if isinstance(error.filename, str) else place
    return StorageError(f"{what}: {error.strerror or error}", place=Place(file), hint=hint)


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes ``target``'s place when the block ends well, and is gone when it doesn't.

    A symbolic link stays: what it points to is replaced. What is no regular file (a device, a pipe) is written into.

    Raises:
        StorageError: it can't be written.
    """
    place = Path(os.path.realpath(target))
    with writing(target):
        if place.exists() and not place.is_file():
            with place.open("wb") as file:
                yield file
            return
    # Not named after the target, whose name may be as long as names can be.
    partial = place.with_name(f".mlms-{secrets.token_hex(8)}.partial")
    with writing(target), _named(partial, target), partial.open("xb") as file:
        try:
            yield file
            file.close()
            if place.exists():
                shutil.copymode(place, partial)
            partial.replace(place)
        except BaseException:
            partial.unlink()
            raise


@contextmanager
def _named(partial: Path, target: Path) -> Iterator[None]:
    """Have an OSError name the file that was asked for, not the one that it is written to first."""
    try:
        yield
    except OSError as error:
        if error.filename == str(partial):
            error.filename = str(target)
        raise
