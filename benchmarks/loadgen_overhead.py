"""What mlms's scenarios cost beside LoadGen's own, with predictors that do nothing.

Single stream: time a query of a measurement by mlms, and of LoadGen with the smallest system under test that Python can
give it (a callback that completes the query), taken in turns in one process. Server: 2,000 queries a second through the
queue and a worker, on two cores, held to LoadGen's rules with a p99 of 10 ms.

    python benchmarks/loadgen_overhead.py --repeats 5
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import mlperf_loadgen as loadgen
import numpy as np
from claims import Claim, conclude, options, table

from mlms.hooks import Batch, Outputs
from mlms.manifests.types import ScenarioSpec
from mlms.progress import Silent
from mlms.scenarios.loadgen import Measurement, Seeds, measure

QUERIES = 50_000
SEEDS = Seeds(1, 2, 3)
BATCH = {"x": np.zeros((1, 1), dtype=np.float32)}
STREAM = ScenarioSpec("single_stream", QUERIES, 0, 60)
SERVER = ScenarioSpec("server", 662, 2, 10, target_qps=2000, target_latency=0.01, target_latency_percentile=99)
CORES = 2


def main() -> int:
    arguments = options(__doc__, repeats=5)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    above, served = [], []
    with TemporaryDirectory(prefix="mlms-benchmark-") as name:
        for number in range(arguments.repeats):
            sides = [by_mlms, by_loadgen] if number % 2 else [by_loadgen, by_mlms]
            took = {side: side(Path(name)) for side in sides}
            above.append((took[by_mlms], took[by_loadgen]))
            served.append(run(SERVER, Path(name)))
    table(
        ["single stream, µs a query", "mlms", "LoadGen alone", "above"],
        [[f"round {n}", f"{own:.2f}", f"{alone:.2f}", f"{own - alone:.2f}"] for n, (own, alone) in enumerate(above, 1)],
    )
    print()
    table(
        ["server, 2,000 queries/s", "answered/s", "p50 µs", "p99 µs", "send lag µs", "valid"],
        [[f"round {number}", *cells(one)] for number, one in enumerate(served, 1)],
    )
    for problem in dict.fromkeys(problem for one in served for problem in one.problems):
        print(problem)
    invalid = 100 * sum(not one.valid for one in served) / len(served)
    return conclude(
        [
            Claim("single stream: above LoadGen's null system", median(own - alone for own, alone in above), 10, "µs"),
            Claim("server at 2,000/s: runs that are not valid", invalid, 0, "%"),
            Claim("server at 2,000/s: p99", median(one.loadgen.percentiles[99.0] for one in served) / 1e6, 10, "ms"),
        ]
    )


def cells(served: Measurement) -> list[str]:
    """A round of server in the table."""
    assert served.rate is not None
    assert served.send_lag is not None
    median_ns, tail_ns = (served.loadgen.percentiles[percentile] for percentile in (50.0, 99.0))
    figures = served.rate.achieved, median_ns / 1e3, tail_ns / 1e3, served.send_lag[0] / 1e3
    return [*(f"{figure:.0f}" for figure in figures), "yes" if served.valid else "no"]


def nothing(batch: Batch) -> Outputs:
    return {}


def run(spec: ScenarioSpec, folder: Path) -> Measurement:
    return measure(
        spec,
        nothing,
        1,
        1,
        lambda positions: BATCH,
        expected_ns=10_000,
        seeds=SEEDS,
        log_directory=folder / "mlms",
        progress=Silent(),
        region=nullcontext(),
    )


def by_mlms(folder: Path) -> float:
    """Microseconds a query, from the first to the last."""
    starts = run(STREAM, folder).starts
    return float(starts[-1] - starts[0]) / 1e3 / (len(starts) - 1)


def by_loadgen(folder: Path) -> float:
    """The same of LoadGen alone."""
    first = last = count = 0

    def complete(queries: Any) -> None:
        nonlocal first, last, count
        last = perf_counter_ns()
        first, count = first or last, count + 1
        loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries])

    settings = loadgen.TestSettings()
    settings.scenario, settings.mode = loadgen.TestScenario.SingleStream, loadgen.TestMode.PerformanceOnly
    settings.min_query_count, settings.min_duration_ms = QUERIES, 0
    settings.single_stream_expected_latency_ns = 10_000
    logs = loadgen.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(folder)
    system = loadgen.ConstructSUT(complete, lambda: None)
    library = loadgen.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
    loadgen.StartTestWithLogSettings(system, library, settings, logs, "")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)
    return (last - first) / 1e3 / (count - 1)


if __name__ == "__main__":
    sys.exit(main())
