"""What tracing real models costs; part of ``tracing.py``.

A model is loaded twice, with the same weights, and only one of the two is observed. They predict in turn, the same
input, so that whatever else the machine does hits both alike; the order changes at each turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from time import perf_counter_ns
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from mlms import api
from mlms.executor.binding import bind
from mlms.executor.loading import LoadedModel, load_model
from mlms.executor.provision import provision_weights
from mlms.manifests.fetch import FetchSettings
from mlms.progress import Silent
from mlms.tracing.recorder import Recorder

Predict = Callable[[], Any]

WARM = 3
ROUND = 4
"""Predictions under a profiler before the other's turn: both use Kineto, of which a process has one."""


class Loaded:
    """One model, loaded as often as it is asked for, and a batch of one random image."""

    def __init__(self, name: str) -> None:
        manifest = {"kind": "manifest", "name": "tracing", "model": name, "dataset": "synthetic", "device": "cpu"}
        self._evaluation = api.plan({**manifest, "weights": "random"}).evaluations[0]
        self._bound = bind(self._evaluation, api.load_plugins(), api.load_catalog().labels, Silent())
        self.batch: Mapping[str, Any] = {"image": self._bound.dataset[0].value[None]}

    def model(self) -> LoadedModel:
        settings = FetchSettings.from_environment(offline=True)
        weights = provision_weights(self._evaluation.model, settings, Silent())
        return load_model(self._evaluation, self._bound, weights, Silent())


def at_level_layer(name: str, predictions: int) -> tuple[float, float, float]:
    """Median ns of a prediction: traced at level "layer", not traced, and not traced once more, to tell the noise."""
    loaded = Loaded(name)
    recorder = Recorder()
    with ExitStack() as stack:
        traced, plain, again = (stack.enter_context(loaded.model()) for _ in range(3))
        stack.enter_context(traced.observed(recorder, "layer", loaded.batch))
        ways = [lambda model=model: model.predict(loaded.batch) for model in (traced, plain, again)]
        return in_turn(ways, predictions)  # type: ignore[return-value]


def in_turn(ways: list[Predict], predictions: int) -> tuple[float, ...]:
    """The median ns of each way to predict, which take turns."""
    for way in ways:
        for _ in range(WARM):
            way()
    taken: list[list[int]] = [[] for _ in ways]
    for turn in range(predictions):
        for offset in range(len(ways)):
            place = (turn + offset) % len(ways)
            start = perf_counter_ns()
            ways[place]()
            taken[place].append(perf_counter_ns() - start)
    return tuple(median(times) for times in taken)


def at_level_operator(name: str, rounds: int) -> tuple[float, float]:
    """Median ns of a prediction: traced at level "operator", and under ``torch.profiler`` alone."""
    loaded = Loaded(name)
    with loaded.model() as model:

        @contextmanager
        def ours() -> Iterator[None]:
            with model.observed(Recorder(), "operator", loaded.batch):
                yield

        @contextmanager
        def theirs() -> Iterator[None]:
            with profile(activities=[ProfilerActivity.CPU]):
                yield

        taken: dict[str, list[float]] = {"ours": [], "theirs": []}
        sides = {"ours": ours, "theirs": theirs}
        for turn in range(rounds):
            for side in list(sides) if turn % 2 else list(sides)[::-1]:
                with sides[side](), torch.inference_mode():
                    times = []
                    for _ in range(ROUND):
                        start = perf_counter_ns()
                        model.predict(loaded.batch)
                        times.append(perf_counter_ns() - start)
                taken[side].append(median(times))
        return median(taken["ours"]), median(taken["theirs"])
