"""Where spans are sent and how, from the standard's ``OTEL_EXPORTER_OTLP_*`` variables.

OpenTelemetry's "Protocol Exporter" specification names them; each also exists as ``OTEL_EXPORTER_OTLP_TRACES_*``,
which comes first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

GRPC_PORT = 4317
HTTP_PORT = 4318
PROTOCOLS = ("grpc", "http/protobuf")
_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Collector:
    """A collector's address and the way to speak to it.

    ``target`` is what gRPC connects to, or the URL that HTTP posts to. ``endpoint`` is the address to show: as given,
    without user and password.
    """

    protocol: str
    endpoint: str
    target: str = field(repr=False)
    insecure: bool
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = 10.0
    """Seconds for one attempt at a request."""
    gzip: bool = False
    certificate: Path | None = None
    client_key: Path | None = None
    client_certificate: Path | None = None


def endpoint_from_environment() -> str | None:
    """The endpoint that the environment sets for traces, if any."""
    return _variable("ENDPOINT")


def collector(endpoint: str | None = None) -> Collector:
    """A collector by its endpoint, or else the environment's.

    An endpoint is an ``http://`` or ``https://`` URL (``https`` means TLS and ``http`` none) or, for gRPC, a target in
    one of its own forms, with TLS unless ``OTEL_EXPORTER_OTLP_INSECURE`` is true. Over HTTP the path gets
    ``/v1/traces`` added, unless it ends so, or comes from the traces' own variable. The protocol is gRPC, unless the
    environment says otherwise or the port or path is one that only HTTP has.

    Raises:
        ValueError: there is no endpoint, or it, or one of the variables, makes no sense.
    """
    whole = endpoint is None and bool(os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip())
    endpoint = endpoint or endpoint_from_environment()
    if endpoint is None:
        raise ValueError("no collector is named: set OTEL_EXPORTER_OTLP_ENDPOINT or give --otlp")
    url = urlsplit(endpoint)
    if url.scheme in ("http", "https") and not url.hostname:
        raise ValueError(f"the endpoint {endpoint!r} names no host")
    protocol = _protocol(url)
    insecure = url.scheme == "http"
    if protocol == "grpc" and url.scheme not in ("http", "https"):
        target = shown = endpoint
        insecure = (_variable("INSECURE") or "").lower() == "true"
    elif protocol == "grpc":
        target = f"{_host(url)}:{url.port or (GRPC_PORT if insecure else 443)}"
        shown = f"{url.scheme}://{target}"
    elif url.scheme in ("http", "https"):
        path = url.path if whole or url.path.endswith(_PATH) else url.path.rstrip("/") + _PATH
        target = urlunsplit((url.scheme, url.netloc, path or "/", url.query, ""))
        shown = urlunsplit((url.scheme, url.netloc.rpartition("@")[2], path or "/", "", ""))
    else:
        raise ValueError(f"the endpoint {endpoint!r} is no http:// or https:// URL, which OTLP over HTTP needs")
    timeout = _variable("TIMEOUT") or "10000"
    if not timeout.isdecimal() or int(timeout) == 0:
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT is {timeout!r}; expected milliseconds, such as 10000")
    compression = (_variable("COMPRESSION") or "none").lower()
    if compression not in ("none", "gzip"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression!r}; expected gzip or none")
    return Collector(
        protocol=protocol,
        endpoint=shown,
        target=target,
        insecure=insecure,
        headers=tuple(_headers(_variable("HEADERS") or "").items()),
        timeout=int(timeout) / 1000,
        gzip=compression == "gzip",
        certificate=_file("CERTIFICATE"),
        client_key=_file("CLIENT_KEY"),
        client_certificate=_file("CLIENT_CERTIFICATE"),
    )


def _protocol(url: SplitResult) -> str:
    protocol = _variable("PROTOCOL")
    if protocol is None:
        http = url.scheme in ("http", "https") and (url.port == HTTP_PORT or url.path.endswith(_PATH))
        return "http/protobuf" if http else "grpc"
    if protocol not in PROTOCOLS:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; expected {' or '.join(PROTOCOLS)}")
    return protocol


def _host(url: SplitResult) -> str:
    return f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""


def _variable(name: str) -> str | None:
    """The traces' own variable, else the general one; one that is set to nothing counts as not set."""
    for variable in (f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
        if value := os.environ.get(variable, "").strip():
            return value
    return None


def _file(name: str) -> Path | None:
    value = _variable(name)
    return Path(value) if value else None


def _headers(text: str) -> Mapping[str, str]:
    from opentelemetry.util.re import parse_env_headers

    return parse_env_headers(text, liberal=True)
