"""The system under test that LoadGen drives: predict, time, and remember.

Imported only when a measurement starts (it needs LoadGen).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import Any

import mlperf_loadgen as loadgen

from mlms.hooks.types import Batch, Outputs
from mlms.progress import Advance

Predict = Callable[[Batch], Outputs]
Positions = tuple[int, ...]
"""Which of the loaded samples a batch is made of."""

DISPLAY_INTERVAL_NS = 1_000_000_000
"""The progress display is touched between predictions, and no more often than this."""


class Recording:
    """What happened: one entry a prediction in ``starts`` and ``ends`` (ns, ``perf_counter_ns``) and ``answered``.

    A latency is the predictor's work alone: the clock is read just before and just after ``predict``. ``outputs``
    keeps the answers that hold a sample not answered before. ``error`` is what a prediction raised.
    """

    def __init__(self, predict: Predict, advance: Advance) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.answered: list[Positions] = []
        self.outputs: list[tuple[Positions, Outputs]] = []
        self.error: BaseException | None = None
        self._predict = predict
        self._advance = advance
        self._seen: set[int] = set()
        self._shown = 0
        self._show_at = 0

    def answer(self, positions: Positions, batch: Batch, responses: list[Any]) -> None:
        """Predict one batch and tell LoadGen that its samples are done.

        LoadGen can't be stopped: an exception that passes through it leaves its threads behind and kills the process
        at the next test. So the first error is kept, and every later query is completed without work.
        """
        if self.error is not None:
            loadgen.QuerySamplesComplete(responses)
            return
        try:
            start = perf_counter_ns()
            output = self._predict(batch)
            end = perf_counter_ns()
        except BaseException as error:
            self.error = error
            loadgen.QuerySamplesComplete(responses)
            return
        loadgen.QuerySamplesComplete(responses)
        self.starts.append(start)
        self.ends.append(end)
        self.answered.append(positions)
        if not self._seen.issuperset(positions):
            self._seen.update(positions)
            self.outputs.append((positions, output))
        if end >= self._show_at:
            self._show_at = end + DISPLAY_INTERVAL_NS
            self._advance(len(self.ends) - self._shown)
            self._shown = len(self.ends)


def batch_per_query(ready: Sequence[tuple[Positions, Batch]], recording: Recording) -> Callable[[Any], None]:
    """A query is one batch made beforehand; LoadGen's sample index is its place in ``ready``."""
    response, answer = loadgen.QuerySampleResponse, recording.answer

    def issue(queries: Any) -> None:
        for query in queries:
            positions, batch = ready[query.index]
            answer(positions, batch, [response(query.id, 0, 0)])

    return issue


def batches_of_query(
    stack: Callable[[Positions], Batch], batch_size: int, recording: Recording
) -> Callable[[Any], None]:
    """A query is many samples, answered batch by batch in the order given."""
    response, answer = loadgen.QuerySampleResponse, recording.answer

    def issue(queries: Any) -> None:
        for first in range(0, len(queries), batch_size):
            chunk = queries[first : first + batch_size]
            positions = tuple(query.index for query in chunk)
            answer(positions, stack(positions), [response(query.id, 0, 0) for query in chunk])

    return issue
