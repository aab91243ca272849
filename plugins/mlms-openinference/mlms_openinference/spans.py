"""The agent's spans on this side's clock, and this side's trace for the server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlms.tracing.levels import LEVELS
from mlms.tracing.reported import Reported


@dataclass(frozen=True, slots=True)
class Remote:
    """What an agent says of one request: how long it had it, and spans (name, level, start, end, attributes) in ns
    since it came."""

    duration_ns: int
    spans: Sequence[tuple[str, str, int, int, Mapping[str, Any]]]

    @classmethod
    def read(cls, text: str) -> Remote | None:
        """None where it says nothing, or nothing that can be read."""
        try:
            told = json.loads(text)
            spans = [
                (str(name), level, int(start), int(end), _kept(rest))
                for name, level, start, end, rest in told["spans"]
                if level in LEVELS
            ]
            return cls(int(told["duration_ns"]), spans)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None


def _kept(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that a span can have: scalars and lists of them, whole numbers of 64 bits."""
    return {
        key: value
        for key, value in attributes.items()
        if (all(map(_is_scalar, value)) if isinstance(value, list) else _is_scalar(value))
        and (key != "thread.id" or isinstance(value, int))
    }


def _is_scalar(value: object) -> bool:
    return -(2**63) <= value < 2**63 if isinstance(value, int) else isinstance(value, (str, float))


def placed(remote: Remote, sent_ns: int, answered_ns: int) -> Iterator[Reported]:
    """The agent's spans within the wait from ``sent_ns`` to ``answered_ns``.

    The clocks of two machines are not comparable, their rates are: the agent's time is put in the middle of the wait,
    as NTP does, which is off by half of the difference between the way there and the way back.
    """
    began = sent_ns + max(0, answered_ns - sent_ns - remote.duration_ns) // 2
    yield Reported("agent", "framework", began, began + remote.duration_ns)
    for name, level, start, end, attributes in remote.spans:
        yield Reported(name, level, began + start, began + end, attributes)


def current_traceparent() -> str | None:
    """W3C's ``traceparent`` of the current span, None where there is none."""
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
