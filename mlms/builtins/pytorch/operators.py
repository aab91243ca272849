"""Operators as the dispatcher runs them, from Kineto (``torch.profiler``); imports torch.

Layers and phases are marked in Kineto's own record, so that they and the operators come from one clock and nest
exactly. Kineto's times are Unix ns of a clock that isn't ours: each prediction's spans are moved as a whole, so that
the prediction's mark lies in the middle of the interval that our clock took around it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Condition, get_ident
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from mlms.builtins.pytorch.onednn import Operators, Primitive, Verbose, located
from mlms.tracing.assembly import nested_events
from mlms.tracing.recorder import Part, Recorder

PREFIX = "mlms:"
FIRST_CHUNK = 16
"""Predictions that Kineto records before its events are taken out for the first time, to learn how many there are."""
EVENTS_PER_CHUNK = 200_000
"""What Kineto holds at most, roughly: some hundred bytes each."""

Integers = npt.NDArray[np.int64]

_mark = torch._C._profiler._RecordFunctionFast


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction in our clock (ns of ``perf_counter_ns``), and the thread that made it."""

    start: int
    end: int
    thread: int


@dataclass(frozen=True, slots=True)
class Intervals:
    """What Kineto saw in one thread; arrays of shape (intervals,), Unix ns. ``key`` is 0 where a mark has none."""

    start: Integers
    end: Integers
    identifier: Integers
    key: Integers


@dataclass(frozen=True, slots=True)
class _Marks:
    """Predictions in Kineto's time (Unix ns, by start), how far each is moved into our clock, and their threads."""

    start: Integers
    end: Integers
    move: Integers
    thread: Integers


class OperatorTrace:
    """Runs Kineto over many predictions, of any threads, and hands its spans to a recorder in chunks.

    Restarting Kineto takes milliseconds and is done between predictions only, in ``checkpoint``.
    """

    def __init__(self, recorder: Recorder, predict: int, verbose: Verbose | None = None) -> None:
        self._recorder = recorder
        self._predict = predict
        self._verbose = verbose
        self._chunk = FIRST_CHUNK
        self._keys = count(1)
        self._predictions: dict[int, Prediction] = {}
        self._identifiers: dict[tuple[str, str], int] = {}
        self._running = 0
        self._turn = Condition()
        self._restarting = False
        self._profile: Any = None

    def start(self) -> None:
        self._profile = _started()

    def marked(self, function: Callable[..., Any], identifier: int) -> Callable[..., Any]:
        """``function``, each call of it marked in Kineto's record under a recorder's identifier."""
        if self._recorder.correlation is not None:
            return self._correlated(function, identifier)
        text = f"{PREFIX}{identifier}"

        def recorded(*arguments: Any, **keywords: Any) -> Any:
            with _mark(text):
                return function(*arguments, **keywords)

        return recorded

    def _correlated(self, function: Callable[..., Any], identifier: int) -> Callable[..., Any]:
        assert self._recorder.correlation is not None
        push, pop, keys = self._recorder.correlation.push, self._recorder.correlation.pop, self._keys

        def recorded(*arguments: Any, **keywords: Any) -> Any:
            key = next(keys)
            push(key)
            try:
                with _mark(f"{PREFIX}{identifier}:{key}"):
                    return function(*arguments, **keywords)
            finally:
                pop()

        return recorded

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The outermost span: marked for Kineto, and timed by our own clock around the mark."""
        keys, predictions, predict = self._keys, self._predictions, self._predict
        correlation = self._recorder.correlation

        def predicted(*arguments: Any, **keywords: Any) -> Any:
            key = next(keys)
            with self._prediction():
                if correlation is not None:
                    correlation.push(key)
                start = perf_counter_ns()
                try:
                    with _mark(f"{PREFIX}{predict}:{key}"):
                        return function(*arguments, **keywords)
                finally:
                    predictions[key] = Prediction(start, perf_counter_ns(), get_ident())
                    if correlation is not None:
                        correlation.pop()

        return predicted

    @contextmanager
    def _prediction(self) -> Iterator[None]:
        """Kineto must not be restarted while one is running."""
        with self._turn:
            self._turn.wait_for(lambda: not self._restarting)
            self._running += 1
        try:
            yield
        finally:
            with self._turn:
                self._running -= 1
                self._turn.notify_all()

    def checkpoint(self) -> None:
        """Between predictions of this thread: hand over a full chunk and go on with an empty one."""
        if len(self._predictions) < self._chunk:
            return
        with self._turn:
            if self._restarting:
                return
            self._restarting = True
            self._turn.wait_for(lambda: not self._running)
        try:
            events = self.finish()
            self._chunk = max(1, EVENTS_PER_CHUNK * self._chunk // max(events, 1))
            self.start()
        finally:
            with self._turn:
                self._restarting = False
                self._turn.notify_all()

    def finish(self) -> int:
        """Stop Kineto, if it was started, and hand over what it has; the number of its events."""
        if self._profile is None:
            return 0
        self._profile.stop()
        threads = self._intervals()
        found = sum(len(intervals.start) for intervals in threads.values())
        if self._verbose is not None:
            threads = self._with_primitives(threads, self._verbose.take())
        for part in self._parts(threads):
            self._recorder.add(part)
        self._predictions.clear()
        return found

    def _intervals(self) -> dict[int, Intervals]:
        rows: dict[int, list[tuple[int, int, int, int]]] = {}
        for event in self._profile.profiler.kineto_results.events():
            if event.device_type() == DeviceType.CPU:
                identifier, key = self._identified(event.name())
                row = (event.start_ns(), event.end_ns(), identifier, key)
                rows.setdefault(event.start_thread_id(), []).append(row)
        return {thread: Intervals(*np.array(found, dtype=np.int64).T) for thread, found in rows.items()}

    def _identified(self, name: str) -> tuple[int, int]:
        if name.startswith(PREFIX):
            identifier, _, key = name.removeprefix(PREFIX).partition(":")
            return int(identifier), int(key or 0)
        return self._identifier(name, "operator", {"mlms.operator.name": name}), 0

    def _identifier(self, name: str, level: str, attributes: Mapping[str, Any]) -> int:
        same = (name, repr(attributes))
        if same not in self._identifiers:
            self._identifiers[same] = self._recorder.intern(name, level, attributes)
        return self._identifiers[same]

    def _with_primitives(self, threads: dict[int, Intervals], primitives: list[Primitive]) -> dict[int, Intervals]:
        operators = {
            thread: Operators(intervals.start.tolist(), intervals.end.tolist()) for thread, intervals in threads.items()
        }
        more: dict[int, list[tuple[int, int, int, int]]] = {}
        for position, thread, start, end in located(primitives, operators):
            found = primitives[position]
            identifier = self._identifier(found.name, "library", found.attributes)
            more.setdefault(thread, []).append((start, end, identifier, 0))
        joined = dict(threads)
        for thread, rows in more.items():
            told, added = threads[thread], np.array(rows, dtype=np.int64).T
            columns = (told.start, told.end, told.identifier, told.key)
            joined[thread] = Intervals(*(np.concatenate(pair) for pair in zip(columns, added, strict=True)))
        return joined

    def _parts(self, threads: Mapping[int, Intervals]) -> Iterator[Part]:
        """The intervals in our clock, each moved with the prediction that it lies in.

        In a thread that makes no predictions of its own, that is the last one that any thread had begun. What runs
        outside of predictions is left out.
        """
        if not threads:
            return
        marks = {thread: self._marks(intervals) for thread, intervals in threads.items()}
        everyone = _joined(list(marks.values()))
        for thread, intervals in threads.items():
            among = marks[thread] if len(marks[thread].start) else everyone
            if not len(among.start):
                continue
            place = _last_begun(among.start, intervals.start)
            kept = (place >= 0) & (intervals.start < among.end[place])
            move = among.move[place[kept]]
            start, end, identifier = intervals.start[kept], intervals.end[kept], intervals.identifier[kept]
            events, interval = nested_events(start + move, end + move, identifier)
            ours = int(among.thread[0]) if among is not everyone else thread
            yield Part(ours, events, intervals.key[kept][interval])

    def _marks(self, intervals: Intervals) -> _Marks:
        where = np.flatnonzero(intervals.identifier == self._predict)
        where = where[np.argsort(intervals.start[where], kind="stable")]
        start, end = intervals.start[where], intervals.end[where]
        ours = [self._predictions[key] for key in intervals.key[where].tolist()]
        began = np.array([prediction.start for prediction in ours], np.int64)
        ended = np.array([prediction.end for prediction in ours], np.int64)
        spare = np.maximum((ended - began - (end - start)) // 2, 0)
        return _Marks(start, end, began + spare - start, np.array([each.thread for each in ours], np.int64))


def _joined(marks: list[_Marks]) -> _Marks:
    start = np.concatenate([each.start for each in marks])
    order = np.argsort(start, kind="stable")
    rest = [np.concatenate([getattr(each, name) for each in marks])[order] for name in ("end", "move", "thread")]
    return _Marks(start[order], *rest)


def _last_begun(starts: Integers, moments: Integers) -> Integers:
    """The position of the last of ``starts`` that is not after each moment, -1 without one."""
    place: Integers = np.searchsorted(starts, moments, side="right") - 1
    return place


def _started() -> Any:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it would tell the terminal that there is no GPU
    session = profile(activities=[ProfilerActivity.CPU], acc_events=False, experimental_config=_all_threads())
    session.start()
    return session


def _all_threads() -> Any:
    """Kineto follows only the thread that starts it, unless it is told otherwise (PyTorch 2.7 or later)."""
    config = torch._C._profiler._ExperimentalConfig
    try:
        return config(profile_all_threads=True)
    except TypeError:
        return config()
