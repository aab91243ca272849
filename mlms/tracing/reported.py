"""What a runtime reports of a prediction after it: its own profiler's layers and operators, as recorded spans."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mlms.tracing.assembly import nested_events
from mlms.tracing.recorder import Part

if TYPE_CHECKING:
    from mlms.tracing.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Reported:
    """One span: times are ns of ``perf_counter_ns``. A span that lies within another of its prediction is its child.

    The attribute ``thread.id`` is a number for the thread that it ran in, where there may be several: what ran at the
    same time as another thread's span of its level lies beside that one, below the prediction.
    """

    name: str
    level: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Reports:
    """Adds predictions, made one after the other, and what was reported of them to a recorder, as of this thread.

    Not for the hot path. What was added is in the recorder once ``flush`` was called.
    """

    def __init__(self, recorder: Recorder, prediction: int) -> None:
        """``prediction`` is the interned name of a prediction."""
        self._recorder = recorder
        self._prediction = prediction
        self._thread = threading.get_ident()
        self._identifiers: dict[str, int] = {}
        self._intervals: dict[int, list[tuple[int, int, int]]] = {}
        self._held = 0
        self._key = 0

    def add(self, start_ns: int, end_ns: int, reported: Iterable[Reported]) -> None:
        """One prediction with what lies below it; what sticks out of it is cut off."""
        self._hold(self._thread, start_ns, end_ns, self._prediction)
        calls: dict[str, int] = {}
        busy: dict[tuple[str, int], int] = {}  # until when, by level and thread, of those that nest with the prediction
        for each in sorted(reported, key=lambda each: each.start_ns):
            start, end = max(each.start_ns, start_ns), min(each.end_ns, end_ns)
            if start >= end:
                continue
            lane, thread = self._thread, each.attributes.get("thread.id")
            if thread is not None:
                others = (until for (level, other), until in busy.items() if level == each.level and other != thread)
                if any(until > start for until in others):
                    lane = thread
                else:
                    busy[each.level, thread] = max(end, busy.get((each.level, thread), 0))
            call = calls[each.name] = calls.get(each.name, -1) + 1
            self._hold(lane, start, end, self._identifier(each, call))
        if self._held >= self._recorder.reported_at_once:
            self.flush()

    def flush(self) -> None:
        """Hand all to the recorder."""
        intervals, self._intervals, self._held = self._intervals, {}, 0
        for thread, those in intervals.items():
            start, end, identifier = np.array(those, np.int64).T
            events, interval = nested_events(start, end, identifier)
            self._key -= len(start)  # below the keys of spans that were recorded as they ran
            self._recorder.add(Part(thread, events, self._key + interval))

    def _hold(self, thread: int, start: int, end: int, identifier: int) -> None:
        self._intervals.setdefault(thread, []).append((start, end, identifier))
        self._held += 1

    def _identifier(self, each: Reported, call: int) -> int:
        attributes = {key: value for key, value in each.attributes.items() if key != "thread.id"}
        if each.level == "layer":
            attributes = {"mlms.layer.name": each.name, "mlms.layer.call": call, **attributes}
        key = json.dumps([each.name, each.level, attributes], sort_keys=True)
        if key not in self._identifiers:
            self._identifiers[key] = self._recorder.intern(each.name, each.level, attributes)
        return self._identifiers[key]
