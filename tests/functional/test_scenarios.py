"""The shipped manifests of the four scenarios, and what goes wrong with one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fakes.manifests import manifest
from fakes.program import CHECKOUT, mlms
from mlms.runs.run import Run

SCENARIOS = ["single_stream", "multi_stream", "server", "offline"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each, one after the other in this process."""
    root = tmp_path_factory.mktemp("runs")
    found = {}
    for scenario in SCENARIOS:
        ended = mlms("eval", CHECKOUT / "manifests" / f"digits-{scenario.replace('_', '-')}.yaml", "-o", root, "--json")
        assert ended.code == 0, ended.err
        found[scenario] = Run(ended.data[0]["path"])
    return found


def summary_of(run: Run) -> str:
    return (run.path / "loadgen" / "mlperf_log_summary.txt").read_text("utf-8")


def problems(ended: Any) -> list[str]:
    return list(ended.data[0]["scenario"]["problems"])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_is_valid_by_loadgens_own_summary(runs: dict[str, Run], scenario: str) -> None:
    record = runs[scenario].record
    assert "Result is : VALID" in summary_of(runs[scenario]), record["scenario"]["problems"]
    assert record["scenario"]["valid"], record["scenario"]["problems"]
    assert record["scenario"]["problems"] == []
    assert (record["scenario"]["type"], record["scenario"]["mode"]) == (scenario, "performance")
    assert record["scenario"]["loadgen"]["result"] == "VALID"
    assert round(record["metrics"][0]["value"], 4) == record["metrics"][0]["published"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["single_stream", "multi_stream", "server"])
def test_percentiles_equal_those_of_loadgens_own_summary(runs: dict[str, Run], scenario: str) -> None:
    summary = summary_of(runs[scenario])
    latency = runs[scenario].record["latency"]
    stated = {
        float(p): int(ns) for p, ns in re.findall(r"^([0-9.]+) percentile latency.*: (\d+)", summary, re.MULTILINE)
    }
    given = {entry["percentile"]: entry["value"] for entry in latency["percentiles"] if entry["value"] is not None}
    assert {50.0, 90.0, 95.0, 99.0} <= given.keys() & stated.keys()
    assert {key: stated[key] for key in given} == given
    for name in ("mean", "min", "max"):
        assert re.search(rf"^{name.title()} latency \(ns\) +: {latency[name]}$", summary, re.MULTILINE)
    estimates = dict(re.findall(r"Early stopping ([0-9.]+)th percentile estimate: (\d+)", summary))
    bounds = {entry["percentile"]: entry["bound"] for entry in latency["percentiles"]}
    assert all(bounds[float(percentile)] == int(ns) for percentile, ns in estimates.items())
    assert all(
        entry["interval"]["low"] <= entry["value"] <= entry["interval"]["high"]
        for entry in latency["percentiles"]
        if entry["value"] is not None
    )


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_record_says_how_it_was_measured(runs: dict[str, Run], scenario: str) -> None:
    record = runs[scenario].record
    assert record["scenario"]["clock"]["agree"]
    assert record["harness"]["null_query_ns"] > 0
    assert record["warmup"] == {"requested": 50, "queries": 50, "steady": None, "method": None}
    assert record["scenario"]["parameters"]["schedule_rng_seed"] == record["seeds"]["loadgen_schedule"]
    assert record["latency"]["definition"]
    assert (record["scenario"]["send_lag"] is not None) is (scenario == "server")
    assert (runs[scenario].path / "loadgen" / "mlperf_log_trace.json").stat().st_size == 0
    assert record["latency"]["samples_per_query"] == {"multi_stream": 8, "offline": 32}.get(scenario, 1)


@pytest.mark.slow
def test_the_series_of_server_tells_service_from_queueing(runs: dict[str, Run]) -> None:
    run = runs["server"]
    measured = run.latencies.filter(pl.col("phase") == "measured")
    assert measured.height == run.record["latency"]["queries"] >= 662
    assert (measured["waited_ns"] >= 0).all()
    assert (measured["waited_ns"] < measured["latency_ns"]).all()
    assert measured["waited_ns"].median() > 1_000_000, "batches wait up to 2 ms"
    rate = run.record["scenario"]["achieved_rate"]
    assert rate["share"] >= 0.99
    spans = run.spans.filter(pl.col("name") == "predict digits-cnn")
    assert spans.height < measured.height + 50, "a prediction answers several queries"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_accuracy_mode_scores_and_times_nothing(scenario: str) -> None:
    rules: dict[str, Any] = {"type": scenario, "mode": "accuracy"}
    if scenario == "server":
        rules |= {"target_qps": 2000, "target_latency": "1s"}
    ended = mlms("eval", manifest(scenario=rules), "-o", "runs", "--json")
    assert ended.code == 0, ended.err
    (record,) = ended.data
    assert record["scenario"]["valid"], record["scenario"]["problems"]
    assert (record["latency"], record["throughput"], record["harness"]) == (None, None, None)
    assert record["metrics"][0]["samples"] == 450
    log = json.loads((Path(record["path"]) / "loadgen" / "mlperf_log_accuracy.json").read_text())
    assert {entry["qsl_idx"] for entry in log} == set(range(450))
    assert "accuracy mode" in mlms("runs", "show", record["path"]).out or mlms("runs", "show", record["path"]).code == 0


def test_a_run_that_is_too_short_says_what_would_make_it_valid() -> None:
    rules = {"type": "single_stream", "min_query_count": 20, "min_duration": 0}
    ended = mlms("eval", manifest(scenario=rules), "-o", "runs", "--json")
    assert ended.code == 0
    assert problems(ended) == ["20 queries, of which p90 needs 64: raise min_queries, or leave it out"]
    shown = mlms("runs", "show", "@last", "-o", "runs").out
    assert "invalid" in shown
    assert "p90 needs 64" in shown


def test_a_rate_out_of_reach_is_invalid_with_the_reason() -> None:
    rules = {"type": "server", "target_qps": 1_000_000, "target_latency": "5ms", "min_duration": "10ms"}
    ended = mlms("eval", manifest(scenario=rules), "-o", "runs", "--json")
    assert ended.code == 0, ended.err
    assert any("lower target_qps" in problem for problem in problems(ended))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"min_duration": -1}, "-1 is less than 0"),
        ({"min_duration": "-5s"}, "'-5s' doesn't have the right form"),
        ({"max_duration": 0}, "0 must be more than 0"),
        ({"max_duration": "0s"}, "'0s' doesn't have the right form"),
        ({"max_duration": "0s"}, "Seconds as a number, or with a unit: '500ms'"),
        ({"target_latency_percentile": 0}, "0 must be more than 0"),
        ({"target_latency_percentile": 100}, "100 must be less than 100"),
        ({"type": "server", "target_latency": "1s"}, "server needs 'target_qps'"),
        ({"type": "server", "target_qps": 0, "target_latency": "1s"}, "0 must be more than 0"),
        ({"type": "multi_stream", "samples_per_query": 0}, "0 is less than 1"),
        ({"min_queries": 1, "min_query_count": 1}, "'min_queries' and 'min_query_count' are the same"),
        ({"type": "sever", "target_qps": 1}, "did you mean 'server'?"),
        ({"target_qsp": 1}, "unknown key 'target_qsp'"),
    ],
)
def test_bad_rules_are_refused_at_their_place(rules: dict[str, Any], said: str) -> None:
    ended = mlms("eval", manifest(scenario=rules), "-o", "runs")
    assert ended.code == 2
    assert said in ended.err
    assert re.search(r"manifest\.yaml:\d+:\d+: ", ended.err)
    assert not list(Path("runs").glob("*")) if Path("runs").exists() else True


def test_a_dataset_smaller_than_a_query_is_refused() -> None:
    rules = {"type": "multi_stream", "samples_per_query": 451}
    ended = mlms("eval", manifest(scenario=rules), "-o", "runs")
    assert ended.code == 2
    assert "a query of 451 samples is more than the 450 that there are" in ended.err


@pytest.mark.slow
def test_the_peak_is_found_and_a_second_search_repeats_nothing() -> None:
    rules = {"type": "multi_stream", "samples_per_query": 300, "min_duration": 0, "target_latency": "1s"}
    path = manifest(scenario=rules, limit=320, trace="none", warmup=2)
    command = ("find-peak", path, "-o", "runs", "--json", "--precision", "0.5", "--set", "scenario.min_query_count=20")
    first = mlms(*command, "--set", "scenario.target_latency_percentile=50")
    assert first.code == 0, first.err
    peak = first.data
    assert peak["parameter"] == "samples_per_query"
    assert peak["value"] == 300, "600 are more than the 320 that there are, and 450 too"
    assert [probe["value"] for probe in peak["probes"]] == [300, 600, 450]
    assert "is more than the 320 that there are" in peak["probes"][1]["problems"][0]
    again = mlms(*command, "--set", "scenario.target_latency_percentile=50")
    assert again.data["probes"][0]["resumed"]
    assert len([path for path in Path("runs").iterdir() if path.is_dir()]) == 1


def test_a_peak_that_no_load_reaches_is_exit_code_1() -> None:
    rules = {"type": "multi_stream", "samples_per_query": 2, "min_duration": 0, "target_latency": 1e-6}
    ended = mlms("find-peak", manifest(scenario=rules, warmup=2), "-o", "runs")
    assert ended.code == 1, ended.err
    assert "no samples_per_query from 1 on that was tried is valid; a query is of one sample at least" in ended.out


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"type": "single_stream"}, "there is no peak to find in single_stream"),
        ({"type": "multi_stream"}, "without a target latency any load is valid"),
    ],
)
def test_a_search_without_an_end_is_refused(rules: dict[str, Any], said: str) -> None:
    ended = mlms("find-peak", manifest(scenario=rules), "-o", "runs")
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.slow
def test_a_warm_up_until_it_is_steady_is_in_the_record_and_the_log() -> None:
    ended = mlms("eval", manifest(), "-o", "runs", "--json", "--warmup", "auto")
    assert ended.code == 0, ended.err
    (record,) = ended.data
    assert record["warmup"]["requested"] == "auto"
    assert record["warmup"]["queries"] >= 24
    assert isinstance(record["warmup"]["steady"], bool)
    log = (Path(record["path"]) / "log.txt").read_text()
    assert f"warm-up: {record['warmup']['queries']} predictions" in log
