"""Spans and counters sent to a collector over OTLP.

The SDK's exporter is not used: it encodes span by span, and it retries and shuts down for many seconds against a dead
collector. Here each attempt has a deadline, and all attempts together have a budget.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from mlms.errors import MlmsError
from mlms.tracing.collector import (
    METRICS,
    TRACES,
    Collector,
    Signal,
    collector,
    delta_wanted,
    endpoint_from_environment,
)
from mlms.tracing.otlp_encoding import Request, encode
from mlms.tracing.transports import Answer, Failure, Transport, connected
from mlms.urls import shown

if TYPE_CHECKING:
    from mlms.tracing.counters import CounterTable
    from mlms.tracing.spans import Spans

__all__ = ["BUDGET_SECONDS", "METRICS", "ExportReport", "endpoint_from_environment", "send", "send_counters"]

log = logging.getLogger("mlms")

BUDGET_SECONDS = 2.0
FIRST_BACKOFF, LAST_BACKOFF = 0.1, 5.0
_RANDOM = SystemRandom()  # the user's seeds stay theirs


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What became of an export: spans, or samples of counters, that the collector took; one sentence if not all went
    well.
    """

    endpoint: str
    sent: int
    error: str | None = None
    unsupported: bool = False
    """The collector is there, and takes nothing of the kind."""


def send(
    spans: Spans,
    endpoint: str | None = None,
    *,
    budget_seconds: float = BUDGET_SECONDS,
    advance: Callable[[int], None] | None = None,
) -> ExportReport:
    """Send all spans to a collector (default: the environment's); never raises.

    The budget is for time without progress, all attempts included: connecting and the first request must succeed
    within it, and so must each later request. A dead collector thus costs at most the budget, and a slow one with much
    to take may have longer. ``advance`` is told the number of spans of each request that was answered.
    """
    return _send(TRACES, lambda: encode(spans.parts(), spans.resource), endpoint, budget_seconds, advance)


def send_counters(
    counters: CounterTable,
    endpoint: str | None = None,
    *,
    attributes: Mapping[str, Any],
    budget_seconds: float = BUDGET_SECONDS,
) -> ExportReport:
    """The same for counters, as metrics; each data point gets ``attributes`` besides its series' own.

    A collector that takes no metrics (Jaeger is one) is no failure to wait for: the report says so.
    """
    from mlms.tracing.otlp_metrics import encode_metrics

    return _send(
        METRICS,
        lambda: encode_metrics(counters.series(), counters.resource, attributes, delta=delta_wanted()),
        endpoint,
        budget_seconds,
        None,
    )


def _send(
    signal: Signal,
    encoded: Callable[[], Iterator[Request]],
    endpoint: str | None,
    budget: float,
    advance: Callable[[int], None] | None,
) -> ExportReport:
    target = shown(endpoint or endpoint_from_environment(signal) or "")
    try:
        return _sent(encoded, collector(endpoint, signal), budget, advance)
    except ValueError as error:
        return ExportReport(target, 0, f"{signal.things} were not sent: {error}")
    except Exception as error:  # a bug, here or in a library: what was measured is worth more than its export
        log.exception("sending %s failed", signal.things)
        return ExportReport(target, 0, f"{signal.things} were not sent: {type(error).__name__}: {error}")


def _sent(
    encoded: Callable[[], Iterator[Request]],
    address: Collector,
    budget: float,
    advance: Callable[[int], None] | None,
) -> ExportReport:
    started = time.monotonic()
    sent = refused = 0
    remark = ""
    things = address.signal.things
    try:
        requests = encoded()
        # The next request is encoded while the collector works on this one.
        with connected(address) as transport, ThreadPoolExecutor(1) as ahead:
            upcoming = ahead.submit(next, requests, None)
            while request := upcoming.result():
                upcoming = ahead.submit(next, requests, None)
                # Starting up counts against the first request, but leaves it half of the budget.
                now = time.monotonic()
                deadline = now + budget if sent + refused else max(started + budget, now + budget / 2)
                answer = _deliver(transport, request.data, deadline, address.timeout)
                rejected = min(answer.rejected, request.items)
                sent += request.items - rejected
                refused += rejected
                remark = remark or answer.remark
                if advance:
                    advance(request.items)
    except Failure as failure:
        if failure.unknown and address.signal == METRICS:
            return ExportReport(address.endpoint, sent, f"the collector at {address.endpoint} takes no metrics", True)
        return ExportReport(address.endpoint, sent, f"the collector at {address.endpoint} {failure}")
    except MlmsError as error:  # a damaged file
        return ExportReport(address.endpoint, sent, f"{things} were not sent to {address.endpoint}: {error}")
    except (OSError, ValueError) as error:  # an unreadable certificate; a header that can't be sent; bad identifiers
        said = str(error).strip().partition("\n")[0][:300]
        return ExportReport(address.endpoint, sent, f"{things} were not sent to {address.endpoint}: {said}")
    if refused:
        remark = f"the collector at {address.endpoint} rejected {refused} of {sent + refused} {things}: {remark}"
    elif remark:
        remark = f"the collector at {address.endpoint} took all {things} and remarks: {remark}"
    return ExportReport(address.endpoint, sent, remark.rstrip(": ") or None)


def _deliver(transport: Transport, request: bytes, deadline: float, timeout: float) -> Answer:
    """Try until the collector takes the request, refuses it for good, or the deadline (monotonic seconds) is near."""
    backoff = FIRST_BACKOFF
    while True:
        try:
            return transport.export(request, min(timeout, max(deadline - time.monotonic(), 0.001)))
        except Failure as failure:
            pause = backoff * _RANDOM.uniform(0.5, 1) if failure.after is None else failure.after
            # An attempt of a few milliseconds would only hide the reason behind its own timeout.
            if not failure.retry or time.monotonic() + pause + FIRST_BACKOFF > deadline:
                raise
        time.sleep(pause)
        backoff = min(2 * backoff, LAST_BACKOFF)
