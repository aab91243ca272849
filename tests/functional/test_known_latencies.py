"""What records say of models whose latency is known: the plugin of ``fakes/known_plugin``, measured through LoadGen.

The models put the clocks of their process forward (``fakes/forward_clock.c``), so that a prediction takes what it is
said to take, and the hours of a measurement pass at once. All else is as ever, and takes its real time: beside the 8 s
of a prediction it is nothing, on a busy machine as well.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fakes import known
from fakes.forward_clock import built
from fakes.series import MEDIAN_NS, true_percentile
from fakes.series import known as series
from mlms import compare
from mlms.runs.run import Run

KINDS = ("fixed", "bimodal", "drifting", "stalls")
SEEDS = 50
REPETITIONS = len(KINDS) * SEEDS
WARMUP = 4
QUERIES = 1250
"""Of 8 s each they take 10,000 s, the least duration: as many as the default rules give for 8 ms."""
LONG = 1000
"""Times the median of ``fakes.series``."""
RULES = {"type": "single_stream", "min_duration": "10000s", "max_duration": "60000s"}
PERCENTILES = (50.0, 90.0, 99.0)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def runs(clock: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Run]]:
    """Runs of each kind by seed, two sweeps at a time."""

    def sweep(kinds: Sequence[str]) -> list[Run]:
        folder = tmp_path_factory.mktemp("sweep")
        path = known.manifest(folder, kinds, scenario=RULES, warmup=WARMUP, matrix={"seed": list(range(SEEDS))})
        ended = known.mlms("eval", path, "--output", "runs", "--json", folder=folder, clock=clock)
        assert ended.returncode == 0, ended.stderr
        return [Run(folder / entry["path"]) for entry in json.loads(ended.stdout)]

    with ThreadPoolExecutor(2) as pool:
        made = [run for part in pool.map(sweep, [KINDS[:2], KINDS[2:]]) for run in part]
    return {kind: [run for run in made if run.record["model"]["name"] == kind] for kind in KINDS}


def taken(run: Run, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """What the model made the measured predictions of a run take, in ns: those after the warm-up's."""
    random = np.random.default_rng(run.record["seeds"]["evaluation"])
    return np.resize(series(run.record["model"]["name"], random, LONG * MEDIAN_NS), WARMUP + count)[WARMUP:]


def measured(run: Run) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    frame = run.latencies.filter(pl.col("phase") == "measured").sort("start_ns")
    return frame["latency_ns"].to_numpy()


def label(run: Run) -> str:
    return str(run.record["latency"]["steadiness"]["label"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_prediction_took_what_it_was_to_take(runs: Mapping[str, Sequence[Run]]) -> None:
    assert {kind: len(found) for kind, found in runs.items()} == dict.fromkeys(KINDS, SEEDS)
    for run in (found[seed] for found in runs.values() for seed in (0, SEEDS - 1)):
        latencies = measured(run)
        assert run.record["scenario"]["valid"], run.record["scenario"]["problems"]
        assert len(latencies) == run.record["latency"]["queries"] > 1000
        assert run.record["framework"]["describe"]["clock"] == "put forward by the predictions"
        assert (latencies >= taken(run, len(latencies))).all(), "in this very order"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_drifts_and_what_has_two_modes_is_flagged_and_nothing_else(runs: Mapping[str, Sequence[Run]]) -> None:
    labels = {kind: Counter(map(label, found)) for kind, found in runs.items()}
    assert labels["drifting"]["drifting"] >= 0.95 * SEEDS, labels
    assert labels["bimodal"]["bimodal"] >= 0.98 * SEEDS, labels
    assert labels["drifting"]["steady"] + labels["bimodal"]["steady"] == 0, labels
    assert labels["fixed"]["steady"] >= 0.98 * SEEDS, labels
    assert labels["stalls"]["steady"] >= 0.98 * SEEDS, labels
    assert "drifting" in (runs["drifting"][0].path / "report.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("percentile", PERCENTILES)
def test_intervals_hold_the_true_percentile_at_their_rate(runs: Mapping[str, Sequence[Run]], percentile: float) -> None:
    held, bounded, widths = 0, 0, []
    for kind, found in runs.items():
        for run in found:
            drifted = (WARMUP + run.record["latency"]["queries"]) / QUERIES if kind == "drifting" else 1.0
            truth = LONG * true_percentile(kind, percentile, drifted)
            (entry,) = (one for one in run.record["latency"]["percentiles"] if one["percentile"] == percentile)
            held += entry["interval"]["low"] <= truth <= entry["interval"]["high"]
            bounded += entry["bound"] >= truth
            widths.append(entry["interval"]["high"] / entry["interval"]["low"])
    # The rate that is stated less three standard errors of a share of 200.
    for share, rate in ((held / REPETITIONS, 0.95), (bounded / REPETITIONS, 0.99)):
        assert share >= rate - 3 * math.sqrt(rate * (1 - rate) / REPETITIONS)
    assert np.median(widths) < 1.1, "and not by being wide"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rare_stalls_are_counted_as_outliers(runs: Mapping[str, Sequence[Run]]) -> None:
    for run in runs["stalls"]:
        stalls = int((taken(run, run.record["latency"]["queries"]) > 4 * LONG * MEDIAN_NS).sum())
        assert stalls <= run.record["latency"]["outliers"]["count"] <= stalls + 3
    assert sum(run.record["latency"]["outliers"]["count"] for run in runs["stalls"]) > SEEDS


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_slowdown_of_5_percent_is_found_and_another_run_of_the_same_is_not(
    runs: Mapping[str, Sequence[Run]], clock: Path, tmp_path: Path
) -> None:
    path = known.manifest(tmp_path, ["slower"], scenario=RULES, warmup=WARMUP, seed=SEEDS)
    ended = known.mlms("eval", path, "--output", "runs", "--json", folder=tmp_path, clock=clock)
    assert ended.returncode == 0, ended.stderr
    slower = tmp_path / json.loads(ended.stdout)[0]["path"]
    base, again = runs["fixed"][:2]
    found = compare([base.path, again.path, slower], force=True)
    for metric in ("latency.p50", "latency.p90", "throughput"):
        same, other = (contrast.effect(metric) for contrast in found.contrasts)
        assert same is not None
        assert other is not None
        assert (same.verdict, other.verdict) == ("not distinguishable", "worse")


@pytest.mark.slow
def test_a_system_clock_that_was_set_meanwhile_is_told(clock: Path, tmp_path: Path) -> None:
    path = known.manifest(tmp_path, ["stepping"])
    ended = known.mlms("eval", path, "--output", "runs", "--json", folder=tmp_path, clock=clock)
    (record,) = json.loads(ended.stdout)
    scenario = record["scenario"]
    assert not scenario["clock"]["agree"]
    assert scenario["clock"]["wall_ns"] - scenario["clock"]["monotonic_ns"] == pytest.approx(100e6, rel=0.1)
    assert not scenario["valid"]
    assert any("the system's clock, which LoadGen reads, was moved" in problem for problem in scenario["problems"])


@pytest.mark.slow
def test_on_the_real_clock_no_query_is_faster_than_its_prediction(tmp_path: Path) -> None:
    """One side only: how much longer one takes is the machine's affair."""
    rules = {"type": "single_stream", "min_query_count": 662, "min_duration": "100ms"}
    path = known.manifest(tmp_path, ["spinning"], scenario=rules, warmup=WARMUP)
    ended = known.mlms("eval", path, "--output", "runs", "--json", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (record,) = json.loads(ended.stdout)
    assert record["framework"]["describe"]["clock"] == "real"
    run = Run(tmp_path / record["path"])
    latencies = measured(run)
    asked = np.resize(series("bimodal", np.random.default_rng(0), median=300e3), WARMUP + len(latencies))[WARMUP:]
    assert (latencies >= asked).all()
    ordered = np.sort(asked)
    for entry in (one for one in record["latency"]["percentiles"] if one["value"] is not None):
        assert entry["value"] >= ordered[math.ceil(entry["percentile"] / 100 * len(ordered)) - 1]
