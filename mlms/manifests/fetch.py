"""Files from the network, kept in a cache: fetched once, checked by SHA-256, whole or absent."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlms.errors import ChecksumError, FetchError, InputError, StorageError
from mlms.manifests.locks import locked
from mlms.manifests.places import cache_folder
from mlms.progress import Progress
from mlms.urls import shown

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Where downloads are kept and where they come from.

    ``mirror`` is a base URL that stands in for the scheme and host of every URL. ``offline`` allows the cache only.
    ``attempts`` bounds the tries of one download, ``backoff`` is the wait in seconds before the second (doubled before
    each later one), ``timeout`` the seconds that a connection or a read may take.
    """

    cache: Path
    mirror: str | None = None
    offline: bool = False
    attempts: int = 5
    backoff: float = 0.5
    timeout: float = 30.0

    @classmethod
    def from_environment(cls, mirror: str | None = None, offline: bool = False) -> FetchSettings:
        """Settings from ``MLMS_CACHE``, ``MLMS_MIRROR`` and ``MLMS_OFFLINE``; the arguments win over them."""
        return cls(
            cache=cache_folder(),
            mirror=mirror or os.environ.get("MLMS_MIRROR") or None,
            offline=offline or os.environ.get("MLMS_OFFLINE", "") not in ("", "0"),
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal; read once for as long as its size and time stay the same.

    Raises:
        StorageError: the file can't be read.
    """
    try:
        stat = path.stat()
        return _sha256_of(path.resolve(), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error


def fetch(url: str, sha256: str, *, progress: Progress, settings: FetchSettings) -> Path:
    """The local copy of ``url``, downloaded unless the cache has it.

    ``sha256`` is the file's digest in hexadecimal, or its first 8 or more digits.

    Raises:
        InputError: the URL, the mirror or the digest isn't one.
        FetchError: the server can't be reached or refuses, or ``settings.offline`` and the cache hasn't got the file.
        ChecksumError: the bytes are not those that ``sha256`` names.
        StorageError: the cache can't be written, or is full.
    """
    digest = sha256.lower()
    if not re.fullmatch(r"[0-9a-f]{8,64}", digest):
        raise InputError(f"sha256 {sha256!r} of {shown(url)} is not 8 to 64 hexadecimal digits")
    source = _source(url, settings.mirror)
    target = settings.cache / "downloads" / f"{digest}-{_file_name(url)}"
    if _holds(target, digest):
        return target
    if settings.offline:
        raise _offline_error(url, target, digest)
    from mlms.manifests.download import download

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(target.name + ".lock")):
            # Another process may have brought the file while this one waited.
            if not _holds(target, digest):
                if target.exists():
                    progress.warn(f"{target} is not the file that its name says; it is downloaded again")
                download(source, digest, target, progress, settings)
    except OSError as error:
        raise StorageError(
            f"cannot keep {shown(url)} in {target.parent}: {error.strerror or error}",
            hint="make room there, or set MLMS_CACHE to a directory that can be written",
        ) from error
    return target


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_of(path).startswith(digest)


@functools.lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, modified: int) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _source(url: str, mirror: str | None) -> str:
    """The URL to ask: ``url``, or its path and query on the mirror."""
    for given in (url, mirror or url):
        if not _is_http(given):
            raise InputError(
                f"{shown(given)!r} is not an http or https URL", hint="mlms fetches over http and https only"
            )
    if mirror is None:
        return url
    parts = urlsplit(url)
    return mirror.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is parsed only here
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _file_name(url: str) -> str:
    """The last part of the URL's path, made safe as a file name on every system."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:] or "download"


def _offline_error(url: str, target: Path, digest: str) -> FetchError:
    if target.is_file():
        return ChecksumError(
            f"{target} has SHA-256 {sha256_of(target)}, but {digest} was expected",
            hint="delete it, and go online or put the right file there",
        )
    return FetchError(
        f"offline, and {shown(url)} is not in the cache",
        hint=f"go online, put the file at {target}, or set MLMS_CACHE to a cache that has it",
    )
