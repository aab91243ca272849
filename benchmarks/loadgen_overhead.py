"""What mlms's scenarios cost beside LoadGen's own, with predictors that do nothing.

Each round measures by mlms, and beside it LoadGen with the smallest system under test that Python can give it (a
callback that completes the query), in one process, first the one and then the other by turns; medians of the rounds
count. Single stream: time a query. Server: 2,000 queries a second through the queue and a worker, on two cores, held to
LoadGen's rules with a p99 of 10 ms. A machine that stands still for 40 ms makes a round invalid, of LoadGen alone as
well: rounds in which that is not valid don't count (unless none is), and all the others have to be valid.

    python benchmarks/loadgen_overhead.py --repeats 5
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
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
from mlms.scenarios import detail_log
from mlms.scenarios.detail_log import LoadGenResult
from mlms.scenarios.loadgen import Measurement, Seeds, measure
from mlms.scenarios.settings import loadgen_settings

QUERIES = 50_000
EXPECTED_NS = 10_000
SEEDS = Seeds(1, 2, 3)
BATCH = {"x": np.zeros((1, 1), dtype=np.float32)}
STREAM = ScenarioSpec("single_stream", QUERIES, 0, 60)
SERVER = ScenarioSpec("server", 662, 4, 10, target_qps=2000, target_latency=0.01, target_latency_percentile=99)
CORES = 2


def main() -> int:
    arguments = options(__doc__, repeats=5)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    above: list[tuple[float, float]] = []
    served: list[tuple[Measurement, LoadGenResult]] = []
    with TemporaryDirectory(prefix="mlms-benchmark-") as name:
        for number in range(arguments.repeats):
            if number % 2:
                own, other = by_mlms(Path(name)), by_loadgen(Path(name))
            else:
                other, own = by_loadgen(Path(name)), by_mlms(Path(name))
            above.append((own[0], other[0]))
            served.append((own[1], other[1]))
    table(
        ["single stream, µs a query", "mlms", "LoadGen alone", "above"],
        [[f"round {n}", f"{own:.2f}", f"{alone:.2f}", f"{own - alone:.2f}"] for n, (own, alone) in enumerate(above, 1)],
    )
    print()
    table(
        ["server, 2,000 queries/s", "answered/s", "p50 µs", "p99 µs", "send lag µs", "valid", "alone: p99 µs", "valid"],
        [[f"round {number}", *cells(*both)] for number, both in enumerate(served, 1)],
    )
    for problem in dict.fromkeys(problem for one, _ in served for problem in one.problems):
        print(problem)
    counted = [one for one, alone in served if alone.result == "VALID"] or [one for one, _ in served]
    if len(counted) < len(served):
        print(f"{len(served) - len(counted)} rounds don't count: LoadGen alone was not valid either")
    invalid = 100 * sum(not one.valid for one in counted) / len(counted)
    tail = median(one.loadgen.percentiles[99.0] for one in counted) / 1e6
    return conclude(
        [
            Claim("single stream: above LoadGen's null system", median(own - alone for own, alone in above), 10, "µs"),
            Claim("server at 2,000/s: rounds that are not valid", invalid, 0, "%"),
            Claim("server at 2,000/s: p99", tail, 10, "ms"),
        ]
    )


def cells(served: Measurement, alone: LoadGenResult) -> list[str]:
    """A round of server in the table."""
    assert served.rate is not None
    assert served.send_lag is not None
    median_ns, tail_ns = (served.loadgen.percentiles[percentile] for percentile in (50.0, 99.0))
    figures = served.rate.achieved, median_ns / 1e3, tail_ns / 1e3, served.send_lag[0] / 1e3
    valid = "yes" if served.valid else "no", "yes" if alone.result == "VALID" else "no"
    return [*(f"{figure:.0f}" for figure in figures), valid[0], f"{alone.percentiles[99.0] / 1e3:.0f}", valid[1]]


def nothing(batch: Batch) -> Outputs:
    return {}


def run(spec: ScenarioSpec, folder: Path) -> Measurement:
    return measure(
        spec,
        nothing,
        1,
        1,
        lambda positions: BATCH,
        expected_ns=EXPECTED_NS,
        seeds=SEEDS,
        log_directory=folder / "mlms",
        progress=Silent(),
        region=nullcontext(),
    )


def by_mlms(folder: Path) -> tuple[float, Measurement]:
    """A round of mlms: microseconds a query of single stream, from the first to the last, and the server scenario."""
    starts = run(STREAM, folder).starts
    return float(starts[-1] - starts[0]) / 1e3 / (len(starts) - 1), run(SERVER, folder)


def by_loadgen(folder: Path) -> tuple[float, LoadGenResult]:
    """The same of LoadGen alone."""
    first = last = count = 0

    def complete(queries: Any) -> None:
        nonlocal first, last, count
        last = perf_counter_ns()
        first, count = first or last, count + 1
        answer(queries)

    drive(STREAM, complete, folder)
    drive(SERVER, answer, folder)
    return (last - first) / 1e3 / (count - 1), detail_log.read(folder, "server", 99)


def answer(queries: Any) -> None:
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0) for query in queries])


def drive(spec: ScenarioSpec, issue: Callable[[Any], None], folder: Path) -> None:
    """LoadGen with ``issue`` for a system under test."""
    logs = loadgen.LogSettings()
    logs.enable_trace = False
    logs.log_output.outdir = str(folder)
    logs.log_output.copy_summary_to_stdout = False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(1, 1, lambda samples: None, lambda samples: None)
    loadgen.StartTestWithLogSettings(system, library, loadgen_settings(spec, EXPECTED_NS, 1, SEEDS), logs, "")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(system)


if __name__ == "__main__":
    sys.exit(main())
