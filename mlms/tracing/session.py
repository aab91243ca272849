"""The spans of one evaluation's application steps, recorded by an OpenTelemetry SDK of its own.

mlms never sets a global tracer provider, so a program that embeds it keeps its own; and it takes the caller's current
span, or the environment's ``TRACEPARENT``, as the parent.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from mlms.tracing import clock
from mlms.tracing.levels import LEVEL_ATTRIBUTE, depth

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

    from mlms.tracing.spans import SpanTable


class Step:
    """A running application step. ``trace_id`` (32 hex) and ``span_id`` (16 hex) are None at level "none"."""

    __slots__ = ("_span", "span_id", "trace_id")

    def __init__(self, span: Span | None) -> None:
        self._span = span
        self.trace_id: str | None = None
        self.span_id: str | None = None
        if span is not None:
            context = span.get_span_context()
            self.trace_id, self.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def set(self, **attributes: Any) -> None:
        """Add attributes, as ``Tracing.span`` takes them."""
        if self._span is not None:
            self._span.set_attributes(_typed(attributes))


class Tracing:
    """Records the spans of one evaluation, down to ``level``; at "none" nothing is recorded or imported.

    All spans are of one trace: the parent's where there is one, else a new one. ``OTEL_SDK_DISABLED=true`` acts as
    level "none", as OpenTelemetry has it.
    """

    def __init__(self, level: str) -> None:
        self.disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        self.level = "none" if self.disabled else level
        self.enabled = depth(self.level) > depth("none")
        self.trace_id: str | None = None
        self.resource: Mapping[str, Any] = {}
        self._tables: list[SpanTable] = []
        if self.enabled:
            self._start()

    def _start(self) -> None:
        from opentelemetry import trace
        from opentelemetry.context import get_current
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.id_generator import IdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._parent = get_current()
        if not trace.get_current_span(self._parent).get_span_context().is_valid:
            names = ("traceparent", "tracestate")
            carrier = {name: os.environ[name.upper()] for name in names if name.upper() in os.environ}
            self._parent = TraceContextTextMapPropagator().extract(carrier, context=self._parent)
        parent = trace.get_current_span(self._parent).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else _random(128)
        self.trace_id = f"{trace_id:032x}"

        class Ids(IdGenerator):
            """Identifiers that neither use nor follow the seed of Python's generator."""

            def generate_span_id(self) -> int:
                return _random(64)

            def generate_trace_id(self) -> int:
                return trace_id

        finished: list[ReadableSpan] = []

        class Keep(SpanProcessor):
            def on_end(self, span: ReadableSpan) -> None:
                finished.append(span)

        self._finished = finished
        self.resource = describe_resource()
        resource = Resource(self.resource)
        unlimited = SpanLimits(
            max_span_attributes=SpanLimits.UNSET,
            max_attributes=SpanLimits.UNSET,
            max_attribute_length=SpanLimits.UNSET,
            max_span_attribute_length=SpanLimits.UNSET,
        )
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False, id_generator=Ids(), span_limits=unlimited
        )
        provider.add_span_processor(Keep())
        self._tracer = provider.get_tracer("mlms", resource.attributes.get("service.version"))  # type: ignore[arg-type]

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[Step]:
        """One application step. An exception that leaves it marks the span as an error and goes on.

        The parent is the current OpenTelemetry span of this thread, else the session's own parent. Attributes of None
        are left out, and values of a type that OpenTelemetry doesn't know become their text. A dotted name is given as
        ``**{"mlms.batch_size": 2}``.
        """
        if not self.enabled:
            yield Step(None)
            return
        from opentelemetry import trace
        from opentelemetry.trace import Status, StatusCode

        context = None if trace.get_current_span().get_span_context().is_valid else self._parent
        span = self._tracer.start_span(
            name,
            context=context,
            attributes={LEVEL_ATTRIBUTE: "application", **_typed(attributes)},
            start_time=clock.now(),
        )
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield Step(span)
        except BaseException as error:
            span.set_attributes(
                {
                    "error.type": type(error).__qualname__,
                    "exception.message": str(error),
                    "exception.stacktrace": "".join(traceback.format_exception(error)),
                }
            )
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            raise
        finally:
            span.end(end_time=clock.now())

    def add(self, table: SpanTable) -> None:
        """Take spans that were made in bulk."""
        self._tables.append(table)

    def finish(self) -> SpanTable:
        """All spans that have ended, and all that were added, by start time; empty at level "none"."""
        from mlms.tracing.spans import concat, from_sdk

        own = [from_sdk(self._finished)] if self.enabled else []
        return concat([*own, *self._tables], self.resource)


def _random(bits: int) -> int:
    return secrets.randbelow(2**bits - 1) + 1


def _typed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes in the types that OpenTelemetry takes."""
    return {
        key: value if isinstance(value, (bool, int, float, str, list, tuple)) else str(value)
        for key, value in attributes.items()
        if value is not None
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # run from a source tree that isn't installed
        return "unknown"


def describe_resource() -> dict[str, Any]:
    """This process, in the words of OpenTelemetry's semantic conventions for resources, and what the environment adds.

    ``OTEL_RESOURCE_ATTRIBUTES`` and ``OTEL_SERVICE_NAME`` come before what is found here.
    """
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    found: dict[str, str | int] = {
        "service.name": "mlms",
        "service.version": _version("mlms"),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": _version("opentelemetry-sdk"),
        "host.name": socket.gethostname(),
        "host.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine().lower()),
        "os.type": platform.system().lower(),
        "process.pid": os.getpid(),
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": platform.python_version(),
        "process.runtime.description": sys.version,
    }
    return dict(Resource(found).merge(OTELResourceDetector().detect()).attributes)
