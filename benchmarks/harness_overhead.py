"""What mlms adds to a prediction.

Per query: the measured loop around a predictor that does nothing, called directly and through a whole evaluation,
beside LoadGen with a callback that only answers. On a real model: resnet18 with random weights, batch 1, on the CPU,
through mlms and in a bare loop of PyTorch, with the same module, threads and input. Other work on the machine comes and
goes, so short rounds alternate; each round through mlms is compared with the bare ones just before and after it, median
with median, and of all these ratios the median counts. Its 95% interval says what the machine lets one tell.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import mlperf_loadgen as loadgen
import numpy as np
from claims import Claim, conclude, options, table

from mlms import api
from mlms.executor.binding import bind
from mlms.executor.loading import load_model
from mlms.executor.provision import provision_weights
from mlms.hooks import Batch, Component, Framework, Outputs, hookimpl
from mlms.manifests.fetch import FetchSettings
from mlms.manifests.types import ScenarioSpec
from mlms.progress import Silent
from mlms.scenarios.loadgen import Seeds, measure

QUERIES, FEW_QUERIES = 20_000, 500
QUERY_ROUNDS = 5
ROUND = 4
"""Predictions of the real model in one round."""
ROUNDS_PER_REPEAT = 8
SEEDS = Seeds(1, 2, 3)

NULL_FRAMEWORK = {
    "kind": "framework",
    "name": "null",
    "component": "null",
    "distribution": "numpy",
}
NULL_MODEL = {
    "name": "null",
    "task": "image_classification",
    "framework": "null",
    "source": {"weights": {"random": {}}},
    "input": [{"name": "x", "dtype": "float32", "shape": [1]}],
}


class NullPredictor:
    """Answers at once."""

    def predict(self, batch: Batch) -> Outputs:
        return batch

    def describe(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        """There is nothing to give back."""


class NullFramework:
    """Loads predictors that do nothing."""

    levels: tuple[str, ...] = ("application", "model")

    def load(self, model: object, weights: object, device: str, options: Mapping[str, Any]) -> NullPredictor:
        return NullPredictor()

    def describe(self) -> Mapping[str, Any]:
        return {}


@hookimpl
def mlms_frameworks() -> list[Component[Framework]]:
    """This script is a plugin too, see ``install``."""
    return [Component("null", make=lambda options, context: NullFramework(), summary="does nothing")]


def install(site: Path) -> None:
    """Give the script the entry point that an installed plugin has."""
    metadata = site / "null-0.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: null\nVersion: 0.0.0\n")
    (metadata / "entry_points.txt").write_text(f"[mlms]\nnull = {__name__}\n")
    sys.path.append(str(site))


def main() -> int:
    given = options(__doc__, repeats=20, quick=True)
    queries, rounds = (FEW_QUERIES, 1) if given.quick else (QUERIES, ROUNDS_PER_REPEAT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loop, whole, bare = per_query(folder, min(given.repeats, QUERY_ROUNDS), queries)
        through_mlms, alone, ratios = real_model(folder, given.repeats * rounds)
    low, high = interval(ratios)
    table(
        ["", "median"],
        [
            ["LoadGen alone, a query", f"{bare:.2f} µs"],
            ["measured loop, a query", f"{loop:.2f} µs"],
            ["whole evaluation, a query", f"{whole:.2f} µs"],
            ["resnet18 in a bare loop", f"{alone / 1e6:.3f} ms"],
            ["resnet18 through mlms", f"{through_mlms / 1e6:.3f} ms"],
            ["the one by the other, 95 %", f"{low:.3f} to {high:.3f} ×"],
        ],
    )
    return conclude(
        [
            Claim("a query of the measured loop around a predictor that does nothing", loop, 20, "µs"),
            Claim("the same in a whole evaluation", whole, 20, "µs"),
            Claim("resnet18, batch 1, through mlms beside a bare loop", median(ratios), 1.02, "×"),
        ]
    )


def per_query(folder: Path, repeats: int, queries: int) -> tuple[float, float, float]:
    """Microseconds a query, from the first's start to the last's: the loop's, a whole evaluation's, LoadGen's own."""
    evaluate = whole_evaluation(folder, queries)
    loops, wholes, bares = [], [], []
    for _ in range(repeats):
        loops.append(measured_loop(folder, queries))
        wholes.append(evaluate())
        bares.append(loadgen_alone(folder, queries))
    return median(loops), median(wholes), median(bares)


def measured_loop(folder: Path, queries: int) -> float:
    batch = {"x": np.zeros((1, 1), dtype=np.float32)}
    measurement = measure(
        ScenarioSpec("single_stream", queries, 0, 600),
        NullPredictor().predict,
        1,
        1,
        lambda positions: batch,
        expected_ns=10_000,
        seeds=SEEDS,
        log_directory=folder / "loadgen",
        progress=Silent(),
        region=nullcontext(),
    )
    return float(measurement.starts[-1] - measurement.starts[0]) / 1e3 / (len(measurement.starts) - 1)


def whole_evaluation(folder: Path, queries: int) -> Callable[[], float]:
    """One evaluation of the null framework, as a function that gives the microseconds a query of another run."""
    install(folder / "site")
    assets = folder / "assets"
    assets.mkdir()
    (assets / "null.yaml").write_text(json.dumps(NULL_FRAMEWORK))
    manifest = {
        "kind": "manifest",
        "name": "null",
        "model": NULL_MODEL,
        "dataset": {"name": "synthetic", "limit": 1},
        "scenario": {"type": "single_stream", "min_queries": queries, "min_duration": 0, "max_duration": "10m"},
    }
    settings = api.Settings(output=folder / "runs", offline=True)

    def run() -> float:
        import polars as pl

        (finished,) = api.evaluate(manifest, assets=[assets], settings=settings).raise_for_failures()
        latencies = finished.latencies
        starts = latencies.filter(pl.col("phase") == "measured")["start_ns"].to_numpy()
        return float(starts[-1] - starts[0]) / 1e3 / (len(starts) - 1)

    return run


def loadgen_alone(folder: Path, count: int) -> float:
    """The peer: LoadGen's single stream with a callback that reads a clock and answers."""
    starts: list[int] = []

    def answer(queries: Any) -> None:
        starts.append(perf_counter_ns())
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries])

    settings = loadgen.TestSettings()
    settings.scenario, settings.mode = loadgen.TestScenario.SingleStream, loadgen.TestMode.PerformanceOnly
    settings.min_query_count, settings.min_duration_ms = count, 0
    settings.single_stream_expected_latency_ns = 10_000
    logs = loadgen.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(folder)
    sut = loadgen.ConstructSUT(answer, lambda: None)
    library = loadgen.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
    loadgen.StartTestWithLogSettings(sut, library, settings, logs, "")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(sut)
    return (starts[-1] - starts[0]) / 1e3 / (len(starts) - 1)


def interval(figures: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of the median, by order statistics (the sign test, in its normal approximation)."""
    ordered, middle = sorted(figures), len(figures) / 2
    spread = 0.98 * len(figures) ** 0.5
    return ordered[max(0, round(middle - spread) - 1)], ordered[min(len(figures) - 1, round(middle + spread))]


def real_model(folder: Path, rounds: int) -> tuple[float, float, list[float]]:
    """Nanoseconds of a prediction through mlms and in a bare loop, medians of the rounds' medians; and the former by
    the latter for each round.
    """
    import torch

    manifest = {"kind": "manifest", "name": "overhead", "model": "resnet18", "dataset": "synthetic", "device": "cpu"}
    plan = api.plan({**manifest, "weights": "random"})
    evaluation, settings = plan.evaluations[0], FetchSettings.from_environment(offline=True)
    bound = bind(evaluation, api.load_plugins(), api.load_catalog().labels, Silent())
    model = load_model(evaluation, bound, provision_weights(evaluation.model, settings, Silent()), Silent())
    module = model.predictor.module  # type: ignore[attr-defined]  # the very same one, so nothing else can differ
    image = bound.dataset[0].value[np.newaxis]
    tensor, batch = torch.from_numpy(image), {"image": image}

    def bare_loop() -> Sequence[int]:
        latencies = []
        for _ in range(ROUND):
            with torch.inference_mode():
                start = perf_counter_ns()
                module(tensor)
                latencies.append(perf_counter_ns() - start)
        return latencies

    number = count()

    def through_mlms() -> Sequence[int]:
        measurement = measure(
            ScenarioSpec("single_stream", ROUND, 0, 600),
            model.predict,
            1,
            1,
            lambda positions: batch,
            expected_ns=10_000_000,
            seeds=SEEDS,
            log_directory=folder / f"round-{next(number)}",
            progress=Silent(),
            region=nullcontext(),
        )
        return [int(latency) for latency in measurement.ends - measurement.starts][:ROUND]

    ours: list[float] = []
    bare_loop()
    with model:
        bare = [median(bare_loop())]
        for _ in range(rounds):
            ours.append(median(through_mlms()))
            bare.append(median(bare_loop()))
    ratios = [2 * mine / sum(beside) for mine, beside in zip(ours, pairwise(bare), strict=True)]
    return median(ours), median(bare), ratios


if __name__ == "__main__":
    sys.exit(main())
