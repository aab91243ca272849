"""One download over HTTP that survives cut-offs; imported by ``fetch`` when there is something to fetch.

The bytes go to a ``.part`` file beside the target, with the server's validator (ETag or date) in an ``.etag`` file, and
are hashed as they arrive. A later try asks for the rest with Range, and with If-Range so that a server whose file has
changed sends all of it instead.
"""

from __future__ import annotations

import hashlib
import shlex
import time
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from mlms.errors import ChecksumError, FetchError
from mlms.manifests.fetch import FetchSettings
from mlms.progress import Progress
from mlms.urls import shown, shown_within

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK = 1 << 16
"""Bytes read at a time."""

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that the next try may not meet again."""


class _TryAgain(Exception):
    """A try that failed in a way that the next may not."""


def download(source: str, digest: str, target: Path, progress: Progress, settings: FetchSettings) -> None:
    """Bring ``source`` to ``target`` if its SHA-256 starts with ``digest``; the caller keeps others out.

    Raises:
        FetchError: the server can't be reached or refuses; what arrived is kept for the next try.
        ChecksumError: the bytes are not the expected ones; they are deleted.
        OSError: the part can't be written.
    """
    part, validator = (target.with_name(target.name + suffix) for suffix in (".part", ".etag"))
    hint = (
        f"run again to resume, name a mirror's base URL in MLMS_MIRROR, or bring the file yourself: "
        f"wget -O {shlex.quote(str(target))} {shlex.quote(shown(source))}"
    )
    with requests.Session() as session:
        for attempt in range(settings.attempts):
            if attempt:
                time.sleep(settings.backoff * 2 ** (attempt - 1))
            resumed = part.exists()
            try:
                found = _transfer(session, source, digest, part, validator, progress, settings.timeout)
            except _TryAgain as error:
                reason = str(error)
                continue
            except FetchError as error:
                raise FetchError(f"cannot download {shown(source)}: {error.message}", hint=hint) from error.__cause__
            if found.startswith(digest):
                part.replace(target)
                validator.unlink(missing_ok=True)
                return
            part.unlink()
            validator.unlink(missing_ok=True)
            if not resumed:
                raise ChecksumError(
                    f"{shown(source)} has SHA-256 {found}, but {digest} was expected",
                    hint="the asset's sha256 is out of date, or the server or mirror sends another file",
                )
            reason = "the rest that the server sent does not fit the part that was here"
    raise FetchError(f"cannot download {shown(source)}: {reason} ({settings.attempts} tries)", hint=hint)


def _transfer(
    session: requests.Session,
    source: str,
    digest: str,
    part: Path,
    validator: Path,
    progress: Progress,
    timeout: float,
) -> str:
    """Complete ``part`` with one request; gives its SHA-256."""
    hasher, start = _hash(part)
    if start and hasher.hexdigest().startswith(digest):
        return hasher.hexdigest()
    with closing(_get(session, source, start, validator, timeout)) as response:
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            part.unlink()
            raise _TryAgain("the server's file is shorter than the part that was here")
        if response.status_code in TRANSIENT:
            raise _TryAgain(f"the server answers {_status(response)}")
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise FetchError(f"the server answers {_status(response)}")
        if response.status_code == HTTPStatus.OK:
            # The whole file: the server doesn't know Range, or its file isn't the one the part came from.
            hasher, start = hashlib.sha256(), 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _TryAgain("the server sends another range than was asked for")
        _keep_validator(response, validator)
        length = response.raw.length_remaining
        total = None if length is None else start + length
        with part.open("r+b" if start else "wb") as file, progress.task(part.stem, total, "bytes") as advance:
            file.seek(start)
            advance(start)
            try:
                # Not iter_content, which undoes an encoding that wasn't asked for: what is hashed is the file.
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    hasher.update(chunk)
                    advance(len(chunk))
            except (requests.RequestException, HTTPError) as error:
                raise _TryAgain(f"the connection was cut off, {file.tell()} bytes are kept") from error
    return hasher.hexdigest()


def _get(session: requests.Session, source: str, start: int, validator: Path, timeout: float) -> requests.Response:
    # "identity": a range counts bytes of the file, not of a compressed form of it.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator.is_file():
            headers["If-Range"] = validator.read_text(encoding="latin-1")
    try:
        response = session.get(source, headers=headers, stream=True, timeout=timeout, verify=True)
    except requests.exceptions.SSLError as error:
        raise FetchError(f"the server's certificate can't be trusted ({_cause(error)})") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _TryAgain(f"{urlsplit(shown(source)).netloc} can't be reached ({_cause(error)})") from error
    # ValueError: requests follows a redirect to what is no URL.
    except (requests.RequestException, HTTPError, ValueError) as error:
        raise FetchError(shown_within(str(error))) from error
    if source.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise FetchError(f"the server sends from https on to the unprotected {shown(response.url)}")
    return response


def _hash(part: Path) -> tuple[_Hash, int]:
    """The state of SHA-256 after the bytes that are already here, and their number."""
    hasher, size = hashlib.sha256(), 0
    if part.exists():
        with part.open("rb") as file:
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
                size += len(chunk)
    return hasher, size


def _keep_validator(response: requests.Response, validator: Path) -> None:
    etag = response.headers.get("ETag", "")
    # A weak ETag may not stand in If-Range (RFC 9110, 13.1.5).
    value = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    if value:
        validator.write_text(value, encoding="latin-1")
    else:
        validator.unlink(missing_ok=True)


def _status(response: requests.Response) -> str:
    reason = "".join(letter for letter in response.reason or "" if letter.isprintable())
    return f"{response.status_code} {reason}".strip()


def _cause(error: BaseException) -> str:
    """What the system said, or the first that failed; requests wraps it in a line, with the URL, for each layer."""
    said, inner = None, error
    while inner.__context__ is not None:
        inner = inner.__context__
        if isinstance(inner, OSError) and inner.strerror:
            said = inner.strerror
    return said or shown_within(str(inner))
