"""A server of the protocol: where it is, what it is asked with, and what its failures mean to the user."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mlms.errors import InputError, MlmsError, ModelError, OutOfMemoryError, StorageError
from mlms.urls import shown

T = TypeVar("T")

FAILURES: Mapping[str, tuple[type[MlmsError], str, str]] = {
    "UNAVAILABLE": (
        ModelError,
        "can't be reached, or isn't ready",
        "is it running there, and does it speak gRPC with TLS (grpcs://) or without (grpc://) as the URL says?",
    ),
    "DEADLINE_EXCEEDED": (
        ModelError,
        "gave no answer in time",
        "raise the option request_timeout, or look into why it hangs",
    ),
    "UNAUTHENTICATED": (InputError, "refused the caller", "name a file with its token in the option token_file"),
    "PERMISSION_DENIED": (InputError, "refused the caller", "name a file with its token in the option token_file"),
    "NOT_FOUND": (
        InputError,
        "doesn't have the model",
        "give the model's name and version there in the options model and model_version",
    ),
    "INVALID_ARGUMENT": (InputError, "refused the request", "make the asset's input what the model takes there"),
    "RESOURCE_EXHAUSTED": (
        OutOfMemoryError,
        "has no room for the request",
        "make batches smaller, or the server's limit on messages larger",
    ),
    "UNIMPLEMENTED": (
        InputError,
        "doesn't speak the Open Inference Protocol v2",
        "is this the port of its gRPC service?",
    ),
}
"""Kind of error, what the server did, and the mend, by gRPC status."""
ANOTHER = (ModelError, "failed", "its own log says more")


class Server:
    """A connection, which several threads may ask over at once."""

    def __init__(self, framework: str, url: str, options: Mapping[str, Any]) -> None:
        """Raises InputError where the URL or an option is wrong. It connects with the first request."""
        self.url = shown(url)
        self.about = f"framework '{framework}': the server at {self.url}"
        self.timeout = float(options.get("request_timeout", 60))
        self.headers = {}
        if "token_file" in options:
            self.headers["authorization"] = f"Bearer {_read(options['token_file'], 'token_file').strip()}"
            _require_tls(url)
        self.client = _connect(url, options.get("ca_file"))

    def ask(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Call a method of the client.

        Raises:
            MlmsError: what went wrong, and the mend.
        """
        from tritonclient.utils import InferenceServerException

        try:
            return function(*arguments, headers=self.headers, client_timeout=self.timeout, **keywords)
        except InferenceServerException as error:
            raise self.failure(error) from error

    def failure(self, error: Any) -> MlmsError:
        """What the client library raised, as an error that names the server and the mend."""
        status = str(error.status() or "").removeprefix("StatusCode.")
        kind, what, hint = FAILURES.get(status, ANOTHER)
        if status == "DEADLINE_EXCEEDED":
            what = f"{what} ({self.timeout:g} s)"
        return kind(f"{self.about} {what}: {error.message()}", hint=hint)

    def close(self) -> None:
        self.client.close()


def _require_tls(url: str) -> None:
    """Raises InputError where a token would go over a network without TLS."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    if parts.scheme == "grpc" and not here:
        raise InputError(
            f"framework 'openinference': anyone on the way to {url} could read the token",
            hint="write grpcs:// for TLS, or leave token_file out",
        )


def _connect(url: str, ca_file: str | None) -> Any:
    # The client's core writes to standard error what is in the errors too.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from tritonclient.grpc import InferenceServerClient

    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        raise InputError(
            f"framework 'openinference' speaks gRPC, and {url} is HTTP",
            hint="give the server's gRPC port: grpc://host:port, or grpcs://host:port with TLS",
        )
    if parts.scheme == "unix":
        return InferenceServerClient(f"unix:{parts.path}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.hostname is None or port is None or parts.path.strip("/"):
        raise InputError(f"{url} names no host and port", hint="write it like grpc://host:8001")
    if parts.scheme == "grpc":
        if ca_file is not None:
            raise InputError(f"ca_file is for TLS, and {url} is without", hint="write grpcs:// or leave ca_file out")
        return InferenceServerClient(parts.netloc)
    if ca_file is not None:
        _read(ca_file, "ca_file")
    return InferenceServerClient(parts.netloc, ssl=True, root_certificates=ca_file)


def _read(file: str, option: str) -> str:
    try:
        return Path(file).expanduser().read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII text"
        raise StorageError(f"the {option} {file} can't be read: {reason}", hint=f"mend the option {option}") from error
