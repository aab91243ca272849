"""OTLP's two transports: one attempt at one request, and what came of it.

Which failures may be tried again is OTLP's specification's: https://opentelemetry.io/docs/specs/otlp/.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mlms.tracing.collector import METRICS, Collector, Signal

if TYPE_CHECKING:
    import grpc
    import requests

_RETRYABLE = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS", "RESOURCE_EXHAUSTED"}
)
_UNKNOWN_STATUS = frozenset({404, 405, 501})
_RETRYABLE_STATUS = frozenset({429, 502, 503, 504})
_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """The collector took a request but for ``rejected`` spans or data points; it may ``remark`` something."""

    rejected: int
    remark: str


class Failure(Exception):
    """An attempt failed. ``retry``: another may succeed, not before ``after`` seconds where the collector says so.

    ``unknown``: the collector is there and doesn't know the signal.
    """

    def __init__(self, reason: str, *, retry: bool, after: float | None = None, unknown: bool = False) -> None:
        super().__init__(reason)
        self.retry = retry
        self.after = after
        self.unknown = unknown


class Transport(Protocol):
    """Sends one request's bytes and waits for the answer."""

    def export(self, request: bytes, timeout: float) -> Answer:
        """Raises Failure."""


@contextmanager
def connected(collector: Collector) -> Iterator[Transport]:
    """The transport that the collector's protocol names.

    Raises:
        OSError, ValueError: a certificate that can't be read, a header that can't be sent.
    """
    connect = _grpc if collector.protocol == "grpc" else _http
    with connect(collector) as transport:
        yield transport


@contextmanager
def _grpc(collector: Collector) -> Iterator[Transport]:
    # Its core writes handshake failures to the terminal; they are in the report.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    compression = grpc.Compression.Gzip if collector.gzip else grpc.Compression.NoCompression
    options = [
        ("grpc.primary_user_agent", "mlms"),
        # Attempts and the time between them are counted by who calls; a channel that waits longer hides a recovery.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.enable_retries", 0),
    ]
    if collector.insecure:
        channel = grpc.insecure_channel(collector.target, options=options, compression=compression)
    else:
        files = (collector.certificate, collector.client_key, collector.client_certificate)
        credentials = grpc.ssl_channel_credentials(*(file.read_bytes() if file else None for file in files))
        channel = grpc.secure_channel(collector.target, credentials, options=options, compression=compression)
    with channel:
        yield _Grpc(channel, collector)


class _Grpc:
    def __init__(self, channel: grpc.Channel, collector: Collector) -> None:
        self._call: Any = channel.unary_unary(collector.signal.method)
        self._headers = collector.headers
        self._signal = collector.signal

    def export(self, request: bytes, timeout: float) -> Answer:
        import grpc

        try:
            answer = self._call(request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            code = error.code().name
            if code == "DEADLINE_EXCEEDED":
                raise Failure("did not answer in time", retry=True) from error
            after = _retry_info(error)
            # An exhausted collector says whether it recovers; one that doesn't say refuses the message's size.
            retry = code in _RETRYABLE and (code != "RESOURCE_EXHAUSTED" or after is not None)
            reason = f"did not take the {self._signal.things}: {code}: {_first_line(error.details() or '')}"
            raise Failure(reason, retry=retry, after=after, unknown=code == "UNIMPLEMENTED") from error
        return _answer(answer, self._signal)


def _retry_info(error: Any) -> float | None:
    """Seconds to wait, from google.rpc.RetryInfo in the status's details."""
    from google.protobuf.message import DecodeError
    from google.rpc import error_details_pb2, status_pb2

    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = error_details_pb2.RetryInfo()
            try:
                details = status_pb2.Status.FromString(value).details
                if any(detail.Unpack(info) for detail in details if detail.Is(info.DESCRIPTOR)):
                    # Not ToTimedelta(), which raises beyond what a timedelta holds.
                    return max(0.0, float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
            except DecodeError:  # not what the standard says; the back-off decides
                return None
    return None


@contextmanager
def _http(collector: Collector) -> Iterator[Transport]:
    import requests

    for file in (collector.certificate, collector.client_key, collector.client_certificate):
        if file is not None:
            file.read_bytes()  # named here, where the message can say which
    with requests.Session() as session:
        session.headers.update(
            {"Content-Type": "application/x-protobuf", "User-Agent": "mlms", **dict(collector.headers)}
        )
        if collector.client_certificate:
            key = collector.client_key
            session.cert = (str(collector.client_certificate), str(key)) if key else str(collector.client_certificate)
        yield _Http(session, collector)


class _Http:
    def __init__(self, session: requests.Session, collector: Collector) -> None:
        self._session = session
        self._collector = collector

    def export(self, request: bytes, timeout: float) -> Answer:
        import requests

        started = time.monotonic()
        things = self._collector.signal.things
        headers = {}
        if self._collector.gzip:
            request, headers = gzip.compress(request, compresslevel=5), {"Content-Encoding": "gzip"}
        try:
            with self._session.post(
                self._collector.target,
                request,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
                # Said here, since a session's own choice gives way to the environment's REQUESTS_CA_BUNDLE.
                verify=None if self._collector.certificate is None else str(self._collector.certificate),
            ) as answer:
                content = b""
                for part in answer.iter_content(1 << 16):
                    content += part
                    if len(content) > _ANSWER_BYTES or time.monotonic() - started > timeout:
                        raise Failure("answered without end", retry=False)
        except requests.Timeout as error:
            raise Failure("did not answer in time", retry=True) from error
        except requests.exceptions.SSLError as error:
            raise Failure(f"did not take the {things}: {_root(error)}", retry=False) from error
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL) as error:
            raise ValueError(str(error)) from error
        except requests.RequestException as error:
            raise Failure(f"did not take the {things}: {_root(error)}", retry=True) from error
        if answer.status_code != 200:
            said = _status_message(content) or answer.reason or ""
            raise Failure(
                f"did not take the {things}: HTTP {answer.status_code}: {_first_line(said)}",
                retry=answer.status_code in _RETRYABLE_STATUS,
                after=_retry_after(answer.headers.get("Retry-After")),
                unknown=answer.status_code in _UNKNOWN_STATUS,
            )
        return _answer(content, self._collector.signal)


def _answer(content: bytes, signal: Signal) -> Answer:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if signal == METRICS:
            metrics = ExportMetricsServiceResponse.FromString(content).partial_success
            return Answer(metrics.rejected_data_points, metrics.error_message)
        spans = ExportTraceServiceResponse.FromString(content).partial_success
        return Answer(spans.rejected_spans, spans.error_message)
    except DecodeError as error:
        raise Failure("gave an answer that is no OTLP: is this a collector's address?", retry=False) from error


def _status_message(content: bytes) -> str:
    """The message of the google.rpc.Status that a failure's body holds; nothing if it is something else."""
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    try:
        return str(status_pb2.Status.FromString(content).message)
    except DecodeError:
        return ""


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait, from HTTP's Retry-After: a number, or a date."""
    from email.utils import parsedate_to_datetime

    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _root(error: BaseException) -> str:
    """What the system said, out of the libraries' wrappings."""
    while inner := (error.__cause__ or error.__context__ or getattr(error, "reason", None)):
        if not isinstance(inner, BaseException):
            break
        error = inner
    return _first_line(str(error)) or type(error).__name__


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]
