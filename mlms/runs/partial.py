"""Run directories in the making, and what is left of those whose process died.

The process that writes one holds a lock on it, which the system lets go when that process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

PARTIAL = ".partial"
LOG = "log.txt"
FAILED_LOG = ".failed.log"


def partial(final: Path) -> Path:
    """The hidden place where the run directory ``final`` is written."""
    return final.with_name(f".{final.name}{PARTIAL}")


def failed_log(final: Path) -> Path:
    """Where the log of a run is kept that failed before ``final`` was whole."""
    return final.with_name(final.name + FAILED_LOG)


def claim(path: Path) -> int | None:
    """Make the directory ``path`` and lock it. Returns the lock, which ``os.close`` gives back; None if it exists.

    Raises:
        OSError: it can't be made.
    """
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
        return None
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # taken for an abandoned one, before it could be locked
        return claim(path)
    with suppress(OSError):  # a file system without locks: then nobody else gets one either, and removes nothing
        fcntl.flock(lock, fcntl.LOCK_EX)
    if not _is_still(path, lock):
        os.close(lock)
        return claim(path)
    return lock


def remove_abandoned(root: Path, keep_logs: bool = True) -> list[Path]:
    """Remove the unfinished directories below ``root`` whose processes are dead; returns the logs that are kept.

    One that is being written is left alone, and so is one that can't be removed.
    """
    kept = []
    for path in sorted(root.glob(f".*{PARTIAL}")):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, lock):
                if keep_logs and (path / LOG).is_file():
                    final = path.with_name(path.name.removeprefix(".").removesuffix(PARTIAL))
                    kept.append((path / LOG).replace(failed_log(final)))
                shutil.rmtree(path)
        except OSError:
            continue
        finally:
            os.close(lock)
    return kept


def _is_still(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False
