"""The system under test that LoadGen drives: predict, time, and remember.

Imported only when a measurement starts (it needs LoadGen).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import mlperf_loadgen as loadgen

from mlms.hooks.types import Batch, Outputs
from mlms.progress import Advance

Predict = Callable[[Batch], Outputs]
Positions = tuple[int, ...]
"""Which of the loaded samples a batch is made of."""
Stack = Callable[[Positions], Batch]
Checkpoint = Callable[[], None]
"""Called after each prediction, when LoadGen has its answer."""

DISPLAY_INTERVAL_NS = 1_000_000_000
"""The progress display is touched between predictions, and no more often than this."""


@dataclass(frozen=True, slots=True)
class System:
    """What LoadGen calls: ``issue`` with queries, ``load`` with the samples to have ready, ``flush`` after the last.

    ``library`` is the number of samples that LoadGen is told of.
    """

    library: int
    issue: Callable[[Any], None]
    load: Callable[[Sequence[int]], None]
    flush: Callable[[], None]


class Failure:
    """The first error of a measurement, and what becomes of the queries after it.

    LoadGen can't be stopped: an exception that passes through it leaves its threads behind and kills the process at
    the next test. So the first error is kept, and every later query is completed without work; with ``hold`` only once
    LoadGen has issued its last, so that it sees too many queries outstanding and ends early.
    """

    def __init__(self, hold: bool = False) -> None:
        self.error: BaseException | None = None
        self._hold = hold
        self._held: list[Any] = []
        self._lock = threading.Lock()

    def abandon(self, responses: list[Any]) -> None:
        """Complete queries that will get no answer, now or when LoadGen has issued all."""
        with self._lock:
            if self._hold:
                self._held += responses
                return
        loadgen.QuerySamplesComplete(responses)

    def release(self) -> None:
        """LoadGen has issued its last query."""
        with self._lock:
            self._hold = False
            held, self._held = self._held, []
        if held:
            loadgen.QuerySamplesComplete(held)


class Recording:
    """What one thread did: an entry a prediction in ``starts`` and ``ends`` (ns, ``perf_counter_ns``) and ``answered``.

    The clock is read just before and just after ``predict``. ``arrived`` is when the one query of ``offline`` came,
    whose first batch is still to be made then; None in the other scenarios. ``issued`` has an entry a prediction where
    queries wait for one: when each of them was issued. ``outputs`` keeps the answers that hold a sample not answered
    before.
    """

    def __init__(
        self,
        predict: Predict,
        stack: Stack,
        failure: Failure,
        advance: Advance | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.arrived: int | None = None
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.answered: list[Positions] = []
        self.issued: list[tuple[int, ...]] = []
        self.outputs: list[tuple[Positions, Outputs]] = []
        self.failure = failure
        self._predict = predict
        self._stack = stack
        self._advance = advance
        self._checkpoint = checkpoint
        self._seen: set[int] = set()
        self._shown = 0
        self._show_at = 0 if advance is not None else 2**63

    def answer(self, positions: Positions, batch: Batch | None, responses: list[Any]) -> bool:
        """Predict one batch (None: made of ``positions`` now) and tell LoadGen that its samples are done.

        Returns whether it was predicted.
        """
        if self.failure.error is not None:
            self.failure.abandon(responses)
            return False
        try:
            if batch is None:
                batch = self._stack(positions)
            start = perf_counter_ns()
            output = self._predict(batch)
            end = perf_counter_ns()
        except BaseException as error:
            self.failure.error = error
            self.failure.abandon(responses)
            return False
        loadgen.QuerySamplesComplete(responses)
        self.starts.append(start)
        self.ends.append(end)
        self.answered.append(positions)
        if not self._seen.issuperset(positions):
            self._seen.update(positions)
            self.outputs.append((positions, output))
        if end >= self._show_at and self._advance is not None:
            self._show_at = end + DISPLAY_INTERVAL_NS
            self._advance(len(self.ends) - self._shown)
            self._shown = len(self.ends)
        if self._checkpoint is not None:
            try:
                self._checkpoint()
            except BaseException as error:
                self.failure.error = error
        return True


def single_stream(samples: int, batch_size: int, stack: Stack, recording: Recording) -> System:
    """A query is one batch, made beforehand: LoadGen's sample is a batch, its index the batch's place.

    Whole batches only: the last is filled up from the start, since a smaller one would answer faster.
    """
    count = -(-samples // batch_size)
    places = [tuple((start * batch_size + offset) % samples for offset in range(batch_size)) for start in range(count)]
    ready = [(positions, stack(positions)) for positions in places]
    response, answer = loadgen.QuerySampleResponse, recording.answer

    def issue(queries: Any) -> None:
        for query in queries:
            positions, batch = ready[query.index]
            answer(positions, batch, [response(query.id, 0, 0)])

    return System(count, issue, already_loaded, recording.failure.release)


def multi_stream(samples: int, per_query: int, batch_size: int, stack: Stack, recording: Recording) -> System:
    """A query is ``per_query`` samples that lie side by side in memory, as MLPerf has it, answered batch by batch."""
    ready: dict[int, list[tuple[Positions, Batch]]] = {}
    response, answer, failure = loadgen.QuerySampleResponse, recording.answer, recording.failure

    def load(order: Sequence[int]) -> None:
        """LoadGen gives the order, with the first samples once more at the end; every query is a run of it."""
        try:
            side_by_side = stack(tuple(order))
            for first in range(samples):
                ready[order[first]] = [
                    (tuple(order[low:high]), {name: values[low:high] for name, values in side_by_side.items()})
                    for low in range(first, first + per_query, batch_size)
                    for high in (min(low + batch_size, first + per_query),)
                ]
        except BaseException as error:
            failure.error = error

    def issue(queries: Any) -> None:
        if failure.error is not None:
            failure.abandon([response(query.id, 0, 0) for query in queries])
            return
        first = 0
        for positions, batch in ready[queries[0].index]:
            after = first + len(positions)
            answer(positions, batch, [response(query.id, 0, 0) for query in queries[first:after]])
            first = after

    return System(samples, issue, load, failure.release)


def offline(samples: int, batch_size: int, recording: Recording) -> System:
    """One query of many samples, answered batch by batch in the order given."""
    response, answer = loadgen.QuerySampleResponse, recording.answer

    def issue(queries: Any) -> None:
        recording.arrived = perf_counter_ns()
        for first in range(0, len(queries), batch_size):
            chunk = queries[first : first + batch_size]
            answer(tuple(query.index for query in chunk), None, [response(query.id, 0, 0) for query in chunk])

    return System(samples, issue, already_loaded, recording.failure.release)


def already_loaded(indices: Sequence[int]) -> None:
    """The samples were preprocessed before LoadGen started, and are let go after it ended."""
