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
LATENCIES = "latencies.parquet"
SCRATCH = ".scratch-"
FAILED = ".failed"
FAILED_LOG = ".failed.log"


def partial(final: Path) -> Path:
    """The hidden place where the run directory ``final`` is written."""
    return final.with_name(f".{final.name}{PARTIAL}")


def failed_log(final: Path) -> Path:
    """Where the log of a run is kept that failed before ``final`` was whole."""
    return final.with_name(final.name + FAILED_LOG)


def failed(final: Path) -> Path:
    """Where a run is kept that was measured and failed before ``final`` was whole."""
    return final.with_name(final.name + FAILED)


def keep(path: Path, final: Path, log: bool = True) -> Path | None:
    """Keep what an unfinished directory has: all of it once there are latencies, else the log, if ``log``.

    Returns:
        The log that was kept, None where there is none.

    Raises:
        OSError: it can't be moved.
    """
    if (path / LATENCIES).is_file():
        for scratch in path.glob(f"{SCRATCH}*"):
            shutil.rmtree(scratch)
        kept = path.rename(failed(final)) / LOG
        return kept if kept.is_file() else None
    return (path / LOG).replace(failed_log(final)) if log and (path / LOG).is_file() else None


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


def remove_abandoned(root: Path, keep_any: bool = True) -> list[Path]:
    """Remove the unfinished directories below ``root`` whose processes are dead, but for what ``keep`` keeps of them;
    returns the logs that are kept.

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
                final = path.with_name(path.name.removeprefix(".").removesuffix(PARTIAL))
                log = keep(path, final) if keep_any else None
                if log is not None:
                    kept.append(log)
                if path.exists():
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
