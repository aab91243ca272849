"""Predictions before the measurement: so many, or until they are steady."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter_ns
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlms.executor.loading import LoadedModel
from mlms.executor.measuring import batch_of
from mlms.hooks.types import Batch
from mlms.manifests.types import Evaluation
from mlms.pipeline.preparation import Prepared

UNKNOWN_LATENCY_NS = 1_000_000
"""What to expect of a prediction when there was no warm-up to learn from."""
MOST_BATCHES = 32
"""Different batches made ready beforehand; the warm-up goes round them."""

WINDOW_NS, WINDOW_PREDICTIONS, WINDOWS = 100_000_000, 8, 3
STABLE_RATIO = 1.10
LONGEST_NS = 30_000_000_000
METHOD = (
    f"stability window (NVIDIA Triton Performance Analyzer): median latency and throughput of {WINDOWS} windows in a "
    f"row within {STABLE_RATIO:.2f} of one another, each of {WINDOW_NS // 1_000_000} ms and {WINDOW_PREDICTIONS} "
    f"predictions or more; at most {LONGEST_NS // 1_000_000_000} s"
)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Starts and ends of the predictions, ns of ``perf_counter_ns``, arrays of shape (predictions,).

    ``steady`` and ``method`` are None where a count was asked for.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    requested: int | Literal["auto"]
    steady: bool | None = None
    method: str | None = None

    @property
    def expected_ns(self) -> int:
        """The latency to expect of a prediction at best."""
        return int((self.ends - self.starts).min()) if len(self.starts) else UNKNOWN_LATENCY_NS


class Windows:
    """Whether predictions have become steady, told one at a time.

    The stability window of NVIDIA's Triton Performance Analyzer (its documentation, "Measurement Modes": the last three
    measurements within 10% of one another in latency and in throughput), with windows that grow to hold enough
    predictions of a slow model.
    """

    def __init__(self) -> None:
        self._medians: list[float] = []
        self._rates: list[float] = []
        self._latencies: list[int] = []
        self._began: int | None = None

    def add(self, start: int, end: int) -> bool:
        """One more prediction (ns); returns whether the series is steady by now."""
        if self._began is None:
            self._began = start
        self._latencies.append(end - start)
        lasted = end - self._began
        if lasted < WINDOW_NS or len(self._latencies) < WINDOW_PREDICTIONS:
            return False
        self._medians.append(float(np.median(self._latencies)))
        self._rates.append(len(self._latencies) / lasted)
        self._latencies, self._began = [], None
        return len(self._medians) >= WINDOWS and all(
            max(figures[-WINDOWS:]) <= STABLE_RATIO * min(figures[-WINDOWS:])
            for figures in (self._medians, self._rates)
        )


def warm_up(evaluation: Evaluation, model: LoadedModel, loaded: Sequence[Prepared]) -> WarmUp:
    """Predict batches of the evaluation's size, made ready beforehand: exactly the count asked for, or until steady."""
    requested = evaluation.warmup
    starts: list[int] = []
    ends: list[int] = []
    steady: bool | None = None
    batches = cycle(_ready(evaluation, loaded))
    if requested == "auto":
        steady, windows = False, Windows()
        until = perf_counter_ns() + LONGEST_NS
        while not steady and (not ends or ends[-1] < until):
            _predict(model, next(batches), starts, ends)
            steady = windows.add(starts[-1], ends[-1])
    else:
        for batch in islice(batches, requested):
            _predict(model, batch, starts, ends)
    return WarmUp(
        starts=np.array(starts, dtype=np.int64),
        ends=np.array(ends, dtype=np.int64),
        requested=requested,
        steady=steady,
        method=METHOD if requested == "auto" else None,
    )


def _predict(model: LoadedModel, batch: Batch, starts: list[int], ends: list[int]) -> None:
    starts.append(perf_counter_ns())
    model.predict(batch)
    ends.append(perf_counter_ns())
    if model.checkpoint is not None:
        model.checkpoint()


def _ready(evaluation: Evaluation, loaded: Sequence[Prepared]) -> list[Batch]:
    size, samples = evaluation.batch_size, len(loaded)
    different = min(-(-samples // size), MOST_BATCHES)
    count = different if evaluation.warmup == "auto" else min(different, evaluation.warmup)
    return [batch_of(loaded, positions) for positions in islice(_round(samples, size), count)]


def _round(samples: int, batch_size: int) -> Iterator[tuple[int, ...]]:
    start = 0
    while True:
        yield tuple((start + offset) % samples for offset in range(batch_size))
        start += batch_size
