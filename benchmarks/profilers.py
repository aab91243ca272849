"""What being observed costs a model: the latency of digits-cnn with profilers on and off.

The measured process predicts one batch after the other on one thread, while a profiler's sampling process reads its
figures: of host at the default interval and at a fifth of it, of perf at the default one. All sampling processes are
there from the beginning, stopped (SIGSTOP) but in their own rounds. Short rounds of all kinds alternate in random
order, two kinds without a profiler among them for the noise. Each round's median is compared with that of the round
without a profiler in the same turn, and the median of these ratios is the result. The table also has the 99th
percentile of all predictions and the processor time that the sampling process takes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np
import psutil
from claims import Claim, conclude, options, table

from mlms import api
from mlms.executor.binding import bind
from mlms.executor.loading import LoadedModel, load_model
from mlms.executor.provision import provision_weights
from mlms.hooks import Batch, Context
from mlms.manifests.fetch import FetchSettings
from mlms.progress import Silent
from mlms.tracing.recorder import Recorder
from mlms.tracing.sampling import INTERVAL_S

ROUND_S = 0.3
KINDS: Mapping[str, tuple[str, float] | None] = {
    "no profiler": None,
    "host": ("host", INTERVAL_S),
    "no profiler, again": None,
    "host, five times as often": ("host", INTERVAL_S / 5),
    "perf": ("perf", INTERVAL_S),
}


@dataclass
class Rounds:
    """Of one kind: the sampling process, latencies (ns) by round, seconds and processor seconds of the process."""

    process: psutil.Process | None
    latencies: list[list[int]] = field(default_factory=list)
    seconds: float = 0.0
    used: float = 0.0

    def run(self, model: LoadedModel, batch: Batch) -> None:
        begun = perf_counter()
        if self.process is None:
            self.latencies.append(latencies(model, batch))
            return
        before = self.process.cpu_times()
        self.process.resume()
        self.latencies.append(latencies(model, batch))
        self.process.suspend()
        now = self.process.cpu_times()
        self.seconds += perf_counter() - begun
        self.used += now.user + now.system - before.user - before.system

    @property
    def medians(self) -> list[float]:
        return [median(values) for values in self.latencies]

    @property
    def share(self) -> float:
        """Percent of a CPU that the process took."""
        return 100 * self.used / self.seconds if self.seconds else 0.0


def main() -> int:
    repeats = options(__doc__, repeats=60).repeats
    order = Random(0)
    model, batch = digits()
    with model, ExitStack() as attached:
        latencies(model, batch)
        found = {name: Rounds(observed(kind, attached)) for name, kind in KINDS.items()}
        for _ in range(repeats):
            for name in order.sample(list(KINDS), len(KINDS)):
                found[name].run(model, batch)
    alone = found["no profiler"].medians
    beside = {
        name: median(value / other for value, other in zip(one.medians, alone, strict=True))
        for name, one in found.items()
    }
    table(
        ["", "median", "p99", "beside none", "sampling, of a CPU"],
        [
            [
                name,
                f"{median(one.medians) / 1e3:.2f} µs",
                f"{np.percentile(np.concatenate(one.latencies), 99) / 1e3:.2f} µs",
                f"{beside[name]:.3f} ×",
                f"{one.share:.2f} %",
            ]
            for name, one in found.items()
        ],
    )
    return conclude(
        [
            Claim("digits-cnn's median latency with host on, beside none", beside["host"], 1.02, "×"),
            Claim("processor time of the process that samples for host", found["host"].share, 2, "% of a CPU"),
        ]
    )


def observed(profiler: tuple[str, float] | None, attached: ExitStack) -> psutil.Process | None:
    """The sampling process of a profiler, attached to this process and stopped; None for none."""
    if profiler is None:
        return None
    name, interval = profiler
    others = psutil.Process().children()
    component = api.load_plugins().profilers.get(name).component
    made = component.make({"interval": interval}, Context(labels=lambda label: ()))
    attached.enter_context(made.attach(Recorder()))
    (process,) = (child for child in psutil.Process().children() if child not in others)
    attached.callback(process.resume)  # a stopped process can't end
    process.suspend()
    return process


def digits() -> tuple[LoadedModel, Batch]:
    """digits-cnn on one thread, and a batch of one sample."""
    manifest = {"kind": "manifest", "name": "profilers", "model": "digits-cnn", "dataset": "digits-test"}
    evaluation = api.plan({**manifest, "device": "cpu", "threads": 1}).evaluations[0]
    bound = bind(evaluation, api.load_plugins(), api.load_catalog().labels, Silent())
    settings = FetchSettings.from_environment(offline=True)
    model = load_model(evaluation, bound, provision_weights(evaluation.model, settings, Silent()), Silent())
    value: Any = bound.dataset[0].value
    for stage in bound.preprocess:
        value = stage.processor(value)
    return model, {evaluation.model.input[0].name: np.asarray(value)[np.newaxis]}


def latencies(model: LoadedModel, batch: Batch) -> list[int]:
    """Nanoseconds of each prediction made in a round."""
    found = []
    ending = perf_counter_ns() + int(ROUND_S * 1e9)
    while (start := perf_counter_ns()) < ending:
        model.predict(batch)
        found.append(perf_counter_ns() - start)
    return found


if __name__ == "__main__":
    sys.exit(main())
