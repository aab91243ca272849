"""Operators as the dispatcher runs them, from Kineto (``torch.profiler``); imports torch.

Layers and phases are marked in Kineto's own record, so that they and the operators come from one clock and nest
exactly. Kineto's times are Unix ns of a clock that isn't ours: each prediction's spans are moved as a whole, so that
the prediction's marker lies in the middle of the interval that our clock took around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from mlms.tracing.assembly import nested_events
from mlms.tracing.recorder import ENTER, EXIT, Part, Recorder

PREFIX = "mlms:"
_mark = torch._C._profiler._RecordFunctionFast


def marked(function: Callable[..., Any], identifier: int) -> Callable[..., Any]:
    """``function``, each call of it marked in Kineto's record under a recorder's identifier."""
    text = f"{PREFIX}{identifier}"

    def recorded(*arguments: Any, **keywords: Any) -> Any:
        with _mark(text):
            return function(*arguments, **keywords)

    return recorded


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction in our clock (ns of ``perf_counter_ns``)."""

    start: int
    end: int


class OperatorTrace:
    """Runs Kineto over many predictions and hands its spans to a recorder in chunks.

    Restarting Kineto takes milliseconds and is done between predictions only, in ``checkpoint``.
    """

    def __init__(self, recorder: Recorder, predict: int, predictions_a_chunk: int) -> None:
        self._recorder = recorder
        self._predict = predict
        self._chunk = predictions_a_chunk
        self._predictions: list[Prediction] = []
        self._identifiers: dict[str, int] = {}
        self._profile = self._start()

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The outermost span: marked for Kineto, and timed by our own clock around the mark."""
        inner = marked(function, self._predict)
        predictions = self._predictions

        def predicted(*arguments: Any, **keywords: Any) -> Any:
            start = perf_counter_ns()
            result = inner(*arguments, **keywords)
            predictions.append(Prediction(start, perf_counter_ns()))
            return result

        return predicted

    def checkpoint(self) -> None:
        """Between predictions: hand over a full chunk and go on with an empty one."""
        if len(self._predictions) >= self._chunk:
            self.finish()
            self._profile = self._start()

    def finish(self) -> None:
        """Stop Kineto and hand over what it has."""
        self._profile.stop()
        for thread, events in self._events():
            self._recorder.add(Part(thread, events, np.zeros(len(events), np.int64)))
        self._predictions.clear()

    def _start(self) -> Any:
        session = profile(activities=[ProfilerActivity.CPU], acc_events=False)
        session.start()
        return session

    def _events(self) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        rows: dict[int, list[tuple[int, int, int]]] = {}
        for event in self._profile.profiler.kineto_results.events():
            if event.device_type() == DeviceType.CPU:
                identifier = self._identifier(event.name())
                rows.setdefault(event.start_thread_id(), []).append((event.start_ns(), event.end_ns(), identifier))
        for thread, intervals in rows.items():
            start, end, code = np.array(intervals, dtype=np.int64).T
            yield thread, self._placed(nested_events(start, end, code))

    def _placed(self, events: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The events with their times in our clock; what lies outside of every prediction is left out."""
        enters = np.flatnonzero(events[:, 0] == 3 * self._predict + ENTER)
        exits = np.flatnonzero(events[:, 0] == 3 * self._predict + EXIT)
        placed = []
        for prediction, first, last in zip(self._predictions, enters, exits, strict=False):
            part = events[first : last + 1].copy()
            length = part[-1, 1] - part[0, 1]
            spare = max((prediction.end - prediction.start - length) // 2, 0)
            part[:, 1] += prediction.start + spare - part[0, 1]
            placed.append(part)
        return np.concatenate(placed) if placed else events[:0]

    def _identifier(self, name: str) -> int:
        if name.startswith(PREFIX):
            return int(name.removeprefix(PREFIX))
        if name not in self._identifiers:
            self._identifiers[name] = self._recorder.intern(name, "operator", {"mlms.operator.name": name})
        return self._identifiers[name]
