"""A plugin for tests: models whose predictions take a known time, drawn from a known distribution by the seed.

Where the process has the clock of ``fakes/forward_clock.py``, a prediction puts it forward; elsewhere it keeps the
processor busy for so long. Put this folder and ``tests`` on PYTHONPATH.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from fakes.series import known
from mlms.hooks import Batch, Component, Context, Outputs, Sample, Task, hookimpl
from mlms.manifests.types import DatasetAsset, ModelAsset

SAMPLES = 4
SET_AT = 500
"""The prediction after which a model that sets the clock does."""
ANSWER: Outputs = {"answer": np.zeros(1, dtype=np.float32)}


def durations(seed: int, distribution: str, median_ms: float = 8, factor: float = 1.0) -> list[int]:
    """How long each prediction takes, in ns and in order; after the last it goes round."""
    return known(distribution, np.random.default_rng(seed), median_ms * 1e6 * factor).tolist()


class Predictor:
    def __init__(self, seed: int, clock_set_by_ms: int = 0, **distribution: Any) -> None:
        self._durations = cycle(durations(seed, **distribution))
        self._pass = passing()
        self._set_by_ms = clock_set_by_ms
        self._predictions = 0

    def predict(self, batch: Batch) -> Outputs:
        self._pass(next(self._durations))
        self._predictions += 1
        if self._set_by_ms and self._predictions == SET_AT:
            ctypes.CDLL(None).set_system_clock(ctypes.c_longlong(self._set_by_ms * 1_000_000))
        return ANSWER

    def describe(self) -> Mapping[str, Any]:
        return {"parameters": 0, "size_bytes": 0, "device": "cpu", "dtype": "float32"}

    def close(self) -> None:
        pass


def passing() -> Callable[[int], object]:
    """What makes so many nanoseconds pass."""
    forward = getattr(ctypes.CDLL(None), "put_clocks_forward", None)
    if forward is None:
        return spin
    forward.argtypes = [ctypes.c_longlong]
    forward.restype = None
    return forward  # type: ignore[no-any-return]


def spin(nanoseconds: int) -> None:
    until = perf_counter_ns() + nanoseconds
    while perf_counter_ns() < until:
        pass


class Known:
    levels: tuple[str, ...] = ("application", "model")

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def load(self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]) -> Predictor:
        return Predictor(self._seed, **model.source.arguments)

    def describe(self) -> Mapping[str, Any]:
        return {"clock": "real" if passing() is spin else "put forward by the predictions"}


class Rows:
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"row-{index}", np.zeros(1, dtype=np.float32), 0.0)


class Answered:
    """Percent of the samples that got an answer: all."""

    unit = "%"

    def __init__(self) -> None:
        self._all = 0

    def update(self, predictions: Sequence[Any], targets: Sequence[Any]) -> None:
        self._all += len(predictions)

    def compute(self) -> float:
        return 100.0 if self._all else 0.0


def no_check(outputs: Outputs, dataset: DatasetAsset) -> None:
    """Nothing is asked."""


def describe(prediction: Any) -> Mapping[str, Any]:
    return {"answer": float(prediction)}


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]


@hookimpl
def mlms_frameworks() -> Iterable[Component[Known]]:
    return [Component("known", lambda options, context: Known(context.seed), "Takes a known time.")]


@hookimpl
def mlms_datasets() -> Iterable[Component[Rows]]:
    return [Component("known_rows", lambda options, context: Rows(), "Rows of nothing.")]


@hookimpl
def mlms_tasks() -> Iterable[Component[Task]]:
    task = Task("waiting", ("answered",), describe, no_check)
    return [Component("waiting", lambda options, context: task, "Waiting for an answer.")]


@hookimpl
def mlms_metrics() -> Iterable[Component[Answered]]:
    return [Component("answered", make_answered, "Percent of the samples that got an answer.")]


def make_answered(options: Mapping[str, Any], context: Context) -> Answered:
    return Answered()
