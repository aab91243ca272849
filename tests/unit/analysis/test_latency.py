from __future__ import annotations

import json
import math
import re
from fractions import Fraction
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.analysis.latency import early_stopping_bound, outliers, queries_needed, summarize


def run_loadgen(folder: Path, queries: int) -> tuple[npt.NDArray[np.int64], dict[str, Any], dict[float, int]]:
    """LoadGen's single stream with its trace: its own latencies, results by key, and early-stopping estimates."""
    import mlperf_loadgen as loadgen

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.SingleStream
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = 1
    settings.min_query_count = settings.max_query_count = queries
    settings.single_stream_expected_latency_ns = 10_000
    waits = np.random.default_rng(queries).integers(0, 20_000, queries).tolist()

    def issue(asked: Any) -> None:
        for query in asked:
            until = perf_counter_ns() + waits.pop()
            while perf_counter_ns() < until:
                pass
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0)])

    sut = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(8, 8, lambda indices: None, lambda indices: None)
    logs = loadgen.LogSettings()
    logs.enable_trace = True
    logs.log_output.outdir = str(folder)
    loadgen.StartTestWithLogSettings(sut, library, settings, logs, "")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(sut)
    trace = (folder / "mlperf_log_trace.json").read_text("utf-8")
    latencies = [int(value) for value in re.findall(r'"issue_start_ns":0,"complete_ns":(\d+)', trace)]
    lines = (folder / "mlperf_log_detail.txt").read_text("utf-8").splitlines()
    entries = [json.loads(line.removeprefix(":::MLLOG ")) for line in lines if line.startswith(":::MLLOG ")]
    summary = (folder / "mlperf_log_summary.txt").read_text("utf-8")
    found = re.findall(r"Early stopping ([\d.]+)th percentile estimate: (\d+)", summary)
    return (
        np.array(latencies, dtype=np.int64),
        {entry["key"]: entry["value"] for entry in entries},
        {float(percentile): int(value) for percentile, value in found},
    )


@pytest.mark.parametrize("queries", [64, 100, 700, 1500, 5000])
def test_the_bound_is_loadgens_own_estimate(tmp_path: Path, queries: int) -> None:
    latencies, results, estimates = run_loadgen(tmp_path, queries)
    assert len(latencies) == queries
    ordered = np.sort(latencies)
    assert results["result_min_latency_ns"] == ordered[0]
    assert 90.0 in estimates
    assert (99.0 in estimates) == (queries >= queries_needed(99.0))
    for percentile, estimate in estimates.items():
        assert early_stopping_bound(ordered, percentile) == estimate


@pytest.mark.parametrize("percentile", [50.0, 90.0, 95.0, 99.0, 99.9])
def test_the_bound_exists_from_the_least_number_of_queries_on(percentile: float) -> None:
    needed = queries_needed(percentile)
    assert early_stopping_bound(np.arange(needed - 1), percentile) is None
    assert early_stopping_bound(np.arange(needed), percentile) == needed - 1  # nothing is dropped


@given(st.integers(11, 3000), st.floats(1, 99.9))
def test_the_bound_is_the_rule_itself(count: int, percentile: float) -> None:
    from math import exp, lgamma, log

    under = percentile / 100
    chances = [
        exp(lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1) + k * log(1 - under) + (count - k) * log(under))
        for k in range(count + 1)
    ]
    total, allowed = 0.0, -1
    for k, chance in enumerate(chances):
        total += chance
        if total > 0.01 or k == count:
            break
        allowed = k
    bound = early_stopping_bound(np.arange(count), percentile)
    assert bound == (count - allowed if allowed >= 1 else None)


def test_outliers_are_counted_and_kept() -> None:
    series = np.array([100] * 50 + [110] * 50 + [139, 141, 5000], dtype=np.int64)
    found = summarize(series)
    assert found["outliers"] == {"count": 2, "threshold_ns": 140.0, "share": pytest.approx(2 / 103)}
    assert found["max"] == 5000
    assert found["mean"] == pytest.approx(series.mean())
    assert found["cv"] == pytest.approx(series.std(ddof=1) / series.mean())


def test_nothing_was_measured() -> None:
    found = summarize(np.array([], dtype=np.int64))
    assert outliers(np.array([], dtype=np.int64)) is None
    assert (found["queries"], found["mean"], found["cv"], found["outliers"]) == (0, None, None, None)
    assert found["steadiness"]["label"] == "unknown"
    assert all(entry["value"] is entry["bound"] is entry["interval"] is None for entry in found["percentiles"])


@pytest.mark.parametrize("value", [0, 1, 7])
def test_a_clock_too_coarse_to_tell_queries_apart(value: int) -> None:
    found = summarize(np.full(1000, value, dtype=np.int64))
    assert found["steadiness"]["label"] == "steady"
    assert found["percentiles"][1]["value"] == found["percentiles"][1]["bound"] == value
    assert found["outliers"]["count"] == 0


def test_loadgens_own_percentile_goes_before_ours_but_not_before_its_support() -> None:
    found = summarize(np.arange(1, 101), official={90.0: 123, 99.0: 456})
    assert [entry["value"] for entry in found["percentiles"]] == [50, 123, None, None, None]


def test_what_loadgens_clock_adds_moves_the_interval_and_its_other_rank_does_not() -> None:
    """LoadGen takes one query beyond the nearest rank where the share of the queries is whole: here the slowest ten."""
    series = np.array([1_000_000] * 9990 + [100_000_000] * 10)
    (own,) = summarize(series, [99.9])["percentiles"]
    (found,) = summarize(series, [99.9], official={99.9: 100_000_000})["percentiles"]
    assert (own["value"], found["value"]) == (1_000_000, 100_000_000)
    assert found["interval"] == own["interval"]
    assert found["bound"] == own["bound"] == 100_000_000
    (late,) = summarize(series, [99.9], official={99.9: 100_000_500})["percentiles"]
    assert late["interval"]["high"] == own["interval"]["high"] + 500


def test_a_summary_fits_the_schema_of_runs(tmp_path: Path) -> None:
    from fakes.records import write_measured_run
    from mlms.runs.run import Run

    series = np.random.default_rng(0).integers(1000, 2000, 700)
    path = write_measured_run(tmp_path, "a", series, np.arange(450) % 50 > 0)  # which the schema is held against
    assert Run(path).record["latency"]["percentiles"] == summarize(series)["percentiles"]


@pytest.mark.parametrize("percentile", [0, 100, -1, 101])
def test_a_percentile_is_between_0_and_100(percentile: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        queries_needed(percentile)


@pytest.mark.parametrize("count", [1000, 7000, 10_000, 20_000])
@pytest.mark.parametrize("percentile", [50.0, 55.0, 90.0, 99.0, 99.9])
def test_a_percentile_is_of_the_nearest_rank(count: int, percentile: float) -> None:
    series = np.arange(1, count + 1)  # each value is its rank
    (found,) = summarize(series, [percentile])["percentiles"]
    exact = Fraction(str(percentile)) * count / 100
    assert found["value"] in (None, math.ceil(exact))
    assert found["value"] is not None or count < queries_needed(percentile)
