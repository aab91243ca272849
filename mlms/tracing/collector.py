"""Where spans are sent and how, from the standard's ``OTEL_EXPORTER_OTLP_*`` variables.

OpenTelemetry's "Protocol Exporter" specification names them; each also exists as ``OTEL_EXPORTER_OTLP_TRACES_*``,
which comes first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

GRPC_PORT = 4317


@dataclass(frozen=True, slots=True)
class Collector:
    """A collector's address and the way to speak to it.

    ``target`` is what gRPC connects to. ``endpoint`` is the address to show: as given, without user and password.
    """

    endpoint: str
    target: str
    insecure: bool
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = 10.0
    """Seconds for one request."""
    gzip: bool = False
    certificate: Path | None = None
    client_key: Path | None = None
    client_certificate: Path | None = None


def endpoint_from_environment() -> str | None:
    """The endpoint that the environment sets for traces, if any."""
    return _variable("ENDPOINT")


def collector(endpoint: str) -> Collector:
    """A collector by its endpoint: an ``http://`` or ``https://`` URL, or a target in one of gRPC's own forms.

    ``https`` means TLS and ``http`` none; other forms use TLS unless ``OTEL_EXPORTER_OTLP_INSECURE`` is true.

    Raises:
        ValueError: the endpoint, or one of the variables, makes no sense.
    """
    protocol = _variable("PROTOCOL") or "grpc"
    if protocol != "grpc":
        raise ValueError(f"OTLP over {protocol} is not supported yet: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
    target, insecure, shown = endpoint, (_variable("INSECURE") or "").lower() == "true", endpoint
    url = urlsplit(endpoint)
    if url.scheme in ("http", "https"):
        if not url.hostname:
            raise ValueError(f"the endpoint {endpoint!r} names no host")
        insecure = url.scheme == "http"
        host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
        port = url.port or (GRPC_PORT if insecure else 443)
        target = f"{host}:{port}"
        shown = f"{url.scheme}://{target}"
    timeout = _variable("TIMEOUT") or "10000"
    if not timeout.isdecimal() or int(timeout) == 0:
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT is {timeout!r}; expected milliseconds, such as 10000")
    compression = (_variable("COMPRESSION") or "none").lower()
    if compression not in ("none", "gzip"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression!r}; expected gzip or none")
    return Collector(
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
