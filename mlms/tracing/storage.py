"""What the system refuses to write, told with its place and mend."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        at = Path(error.filename) if isinstance(error.filename, str) else place
        hint = _HINTS.get(error.errno or 0, _ELSEWHERE)
        raise StorageError(f"can't write here: {error.strerror or error}", place=Place(at), hint=hint) from error
