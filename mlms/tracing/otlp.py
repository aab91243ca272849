"""Spans sent to a collector over OTLP.

The SDK's exporter is not used: it encodes span by span, and it retries and shuts down for many seconds against a dead
collector. Here each attempt has a deadline, and all attempts together have a budget.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING

from mlms.errors import MlmsError
from mlms.tracing.collector import Collector, collector, endpoint_from_environment
from mlms.tracing.otlp_encoding import encode
from mlms.tracing.transports import Answer, Failure, Transport, connected

if TYPE_CHECKING:
    from mlms.tracing.spans import Spans

__all__ = ["BUDGET_SECONDS", "ExportReport", "endpoint_from_environment", "send"]

BUDGET_SECONDS = 2.0
FIRST_BACKOFF, LAST_BACKOFF = 0.1, 5.0
_RANDOM = SystemRandom()  # the user's seeds stay theirs


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What became of an export: spans that the collector took, and one sentence if not all went well."""

    endpoint: str
    sent: int
    error: str | None = None


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
    try:
        address = collector(endpoint)
    except ValueError as error:
        shown = (endpoint or endpoint_from_environment() or "").rpartition("@")[2]
        return ExportReport(shown, 0, f"spans were not sent: {error}")
    return _send(spans, address, budget_seconds, advance)


def _send(spans: Spans, address: Collector, budget: float, advance: Callable[[int], None] | None) -> ExportReport:
    started = time.monotonic()
    sent = refused = 0
    remark = ""
    try:
        requests = encode(spans.parts(), spans.resource)
        # The next request is encoded while the collector works on this one.
        with connected(address) as transport, ThreadPoolExecutor(1) as ahead:
            upcoming = ahead.submit(next, requests, None)
            while request := upcoming.result():
                upcoming = ahead.submit(next, requests, None)
                # Starting up counts against the first request, but leaves it half of the budget.
                now = time.monotonic()
                deadline = now + budget if sent + refused else max(started + budget, now + budget / 2)
                answer = _deliver(transport, request.data, deadline, address.timeout)
                rejected = min(answer.rejected, request.spans)
                sent += request.spans - rejected
                refused += rejected
                remark = remark or answer.remark
                if advance:
                    advance(request.spans)
    except Failure as failure:
        return ExportReport(address.endpoint, sent, f"the collector at {address.endpoint} {failure}")
    except MlmsError as error:  # a damaged file of spans
        return ExportReport(address.endpoint, sent, f"spans were not sent to {address.endpoint}: {error}")
    except (OSError, ValueError) as error:  # an unreadable certificate; a header that can't be sent; bad identifiers
        said = str(error).strip().partition("\n")[0][:300]
        return ExportReport(address.endpoint, sent, f"spans were not sent to {address.endpoint}: {said}")
    if refused:
        remark = f"the collector at {address.endpoint} rejected {refused} of {sent + refused} spans: {remark}"
    elif remark:
        remark = f"the collector at {address.endpoint} took all spans and remarks: {remark}"
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
