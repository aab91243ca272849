"""Where spans and metrics are sent and how, from the standard's ``OTEL_EXPORTER_OTLP_*`` variables.

OpenTelemetry's "Protocol Exporter" specification names them; each also exists for one signal alone, as
``OTEL_EXPORTER_OTLP_TRACES_*`` and ``OTEL_EXPORTER_OTLP_METRICS_*``, which come first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from mlms.urls import shown, without_user

GRPC_PORT = 4317
HTTP_PORT = 4318
PROTOCOLS = ("grpc", "http/protobuf")


@dataclass(frozen=True, slots=True)
class Signal:
    """A kind of telemetry: its ``word`` in variables and paths, what ``things`` a request has, gRPC's ``method``."""

    word: str
    things: str
    method: str

    @property
    def path(self) -> str:
        """Where HTTP posts it."""
        return f"/v1/{self.word}"


TRACES = Signal("traces", "spans", "/opentelemetry.proto.collector.trace.v1.TraceService/Export")
METRICS = Signal("metrics", "samples of counters", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export")


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
    signal: Signal = TRACES


def endpoint_from_environment(signal: Signal = TRACES) -> str | None:
    """The endpoint that the environment sets for the signal, if any."""
    return _variable("ENDPOINT", signal)


def collector(endpoint: str | None = None, signal: Signal = TRACES) -> Collector:
    """A collector of one signal by its endpoint, or else the environment's.

    An endpoint is an ``http://`` or ``https://`` URL (``https`` means TLS and ``http`` none) or, for gRPC, a target in
    one of its own forms, with TLS unless ``OTEL_EXPORTER_OTLP_INSECURE`` is true. Over HTTP the path gets the
    signal's added (``/v1/traces``, ``/v1/metrics``), unless it comes from the signal's own variable; one that a given
    endpoint ends with is replaced. The protocol is gRPC, unless the environment says otherwise or the port or path is
    one that only HTTP has.

    Raises:
        ValueError: there is no endpoint, or it, or one of the variables, makes no sense.
    """
    own = f"OTEL_EXPORTER_OTLP_{signal.word.upper()}_ENDPOINT"
    whole = endpoint is None and bool(os.environ.get(own, "").strip())
    endpoint = endpoint or endpoint_from_environment(signal)
    if endpoint is None:
        raise ValueError("no collector is named: set OTEL_EXPORTER_OTLP_ENDPOINT or give --otlp")
    url = _parsed(endpoint)
    if url.scheme in ("http", "https") and not url.hostname:
        raise ValueError(f"the endpoint {shown(endpoint)!r} names no host")
    protocol = _protocol(url, signal)
    insecure = url.scheme == "http"
    if protocol == "grpc" and url.scheme not in ("http", "https"):
        target = without_user(endpoint)  # which gRPC's targets have no place for
        address = shown(endpoint)
        insecure = (_variable("INSECURE", signal) or "").lower() == "true"
    elif protocol == "grpc":
        target = f"{_host(url)}:{url.port or (GRPC_PORT if insecure else 443)}"
        address = f"{url.scheme}://{target}"
    elif url.scheme in ("http", "https"):
        path = url.path if whole else _without_signal(url.path).rstrip("/") + signal.path
        target = urlunsplit((url.scheme, url.netloc, path or "/", url.query, ""))
        address = shown(urlunsplit((url.scheme, url.netloc, path or "/", "", "")))
    else:
        raise ValueError(f"the endpoint {shown(endpoint)!r} is no http:// or https:// URL, which OTLP over HTTP needs")
    timeout = _variable("TIMEOUT", signal) or "10000"
    if not timeout.isdecimal() or int(timeout) == 0:
        raise ValueError(f"OTEL_EXPORTER_OTLP_TIMEOUT is {timeout!r}; expected milliseconds, such as 10000")
    compression = (_variable("COMPRESSION", signal) or "none").lower()
    if compression not in ("none", "gzip"):
        raise ValueError(f"OTEL_EXPORTER_OTLP_COMPRESSION is {compression!r}; expected gzip or none")
    return Collector(
        protocol=protocol,
        endpoint=address,
        target=target,
        insecure=insecure,
        headers=tuple(_headers(_variable("HEADERS", signal) or "").items()),
        timeout=int(timeout) / 1000,
        gzip=compression == "gzip",
        certificate=_file("CERTIFICATE", signal),
        client_key=_file("CLIENT_KEY", signal),
        client_certificate=_file("CLIENT_CERTIFICATE", signal),
        signal=signal,
    )


def delta_wanted() -> bool:
    """Whether the environment asks for sums as increases from point to point, not as the rise since they began.

    "lowmemory" is for programs that count; what is read from elsewhere stays cumulative under it.

    Raises:
        ValueError: the variable makes no sense.
    """
    name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    value = os.environ.get(name, "").strip().lower() or "cumulative"
    if value not in ("cumulative", "delta", "lowmemory"):
        raise ValueError(f"{name} is {value!r}; expected cumulative, delta or lowmemory")
    return value == "delta"


def _parsed(endpoint: str) -> SplitResult:
    try:
        url = urlsplit(endpoint)
        _ = url.port  # parsed only here
    except ValueError:
        raise ValueError(f"the endpoint {shown(endpoint)!r} is no URL") from None
    return url


def _without_signal(path: str) -> str:
    for signal in (TRACES, METRICS):
        path = path.removesuffix(signal.path)
    return path


def _protocol(url: SplitResult, signal: Signal) -> str:
    protocol = _variable("PROTOCOL", signal)
    if protocol is None:
        http = url.scheme in ("http", "https") and (url.port == HTTP_PORT or _without_signal(url.path) != url.path)
        return "http/protobuf" if http else "grpc"
    if protocol not in PROTOCOLS:
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; expected {' or '.join(PROTOCOLS)}")
    return protocol


def _host(url: SplitResult) -> str:
    return f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""


def _variable(name: str, signal: Signal) -> str | None:
    """The signal's own variable, else the general one; one that is set to nothing counts as not set."""
    for variable in (f"OTEL_EXPORTER_OTLP_{signal.word.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
        if value := os.environ.get(variable, "").strip():
            return value
    return None


def _file(name: str, signal: Signal) -> Path | None:
    value = _variable(name, signal)
    return Path(value) if value else None


def _headers(text: str) -> Mapping[str, str]:
    from opentelemetry.util.re import parse_env_headers

    return parse_env_headers(text, liberal=True)
