"""The server scenario's side of the queries: a queue, workers, and batches formed of what waits.

Imported only when a measurement starts (it needs LoadGen).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import perf_counter_ns
from typing import Any

import mlperf_loadgen as loadgen

from mlms.hooks.types import Batch
from mlms.scenarios.sut import Predict, Recording, Stack, System, already_loaded

SWITCH_INTERVAL_S = 0.0005
"""How long a thread of Python's may keep the others waiting. The usual 5 ms would be added to the tail of the latency
whenever LoadGen's thread has a query to issue and a worker is busy outside of its framework."""

Waiting = tuple[int, int, int]
"""A query in the queue: when it was issued (ns, ``perf_counter_ns``), LoadGen's id for it, its sample."""


class Pool:
    """Threads that answer queries from one queue, each with a recording of its own, so that none waits for another."""

    def __init__(self, samples: int, stack: Stack, max_batch: int, max_delay_ns: int) -> None:
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._ready: Sequence[Batch] = [stack((position,)) for position in range(samples)]
        self._max_batch = max_batch
        self._max_delay_ns = max_delay_ns

    def system(self, recordings: Sequence[Recording]) -> System:
        put = self._queue.put

        def issue(queries: Any) -> None:
            now = perf_counter_ns()
            for query in queries:
                put((now, query.id, query.index))

        return System(len(self._ready), issue, already_loaded, recordings[0].failure.release)

    @contextmanager
    def running(self, recordings: Sequence[Recording], prime: Predict | None) -> Iterator[None]:
        """A thread for each recording. With ``prime`` each predicts once before any is given a query.

        A framework keeps threads and caches for each thread that calls it, which the warm-up didn't reach.
        """
        primed = threading.Barrier(len(recordings) + 1)
        threads = [
            threading.Thread(target=self._work, args=(recording, prime, primed), name=f"mlms-worker-{number}")
            for number, recording in enumerate(recordings)
        ]
        interval = sys.getswitchinterval()
        for thread in threads:
            thread.start()
        try:
            primed.wait()
            sys.setswitchinterval(SWITCH_INTERVAL_S)
            yield
        finally:
            sys.setswitchinterval(interval)
            self._queue.put(None)
            for thread in threads:
                thread.join()

    def _work(self, recording: Recording, prime: Predict | None, primed: threading.Barrier) -> None:
        try:
            if prime is not None:
                prime(self._ready[0])
        except BaseException as error:
            recording.failure.error = error
        primed.wait()
        response = loadgen.QuerySampleResponse
        while (first := self._queue.get()) is not None:
            batch = [first] if self._max_batch == 1 else self._batch(first)
            positions = tuple(position for _, _, position in batch)
            ready = self._ready[positions[0]] if len(batch) == 1 else None
            if recording.answer(positions, ready, [response(number, 0, 0) for _, number, _ in batch]):
                recording.issued.append(tuple(issued for issued, _, _ in batch))
        self._queue.put(None)  # for the next worker

    def _batch(self, first: Waiting) -> list[Waiting]:
        """The first query and those that come until the batch is full or the first has waited its time."""
        batch, until = [first], first[0] + self._max_delay_ns
        while len(batch) < self._max_batch:
            left = (until - perf_counter_ns()) / 1e9
            try:
                following = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            batch.append(following)
        return batch
