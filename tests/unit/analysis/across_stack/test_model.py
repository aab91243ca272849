"""Latency and throughput by batch size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.records import record, write_run
from fakes.traced_runs import Spans
from mlms.analysis.across_stack.model import model_information, optimal
from mlms.runs.run import Run
from mlms.tracing.spans import SpanTable


def run_of(root: Path, batch: int, latency_ns: list[int]) -> Run:
    path = write_run(root, f"20261123-2115{len(list(root.glob('*'))):02}-m-1a2b3c4d")
    count = len(latency_ns)
    pl.DataFrame(
        {
            "query": range(count + 2),
            "phase": ["warmup", *["measured"] * (count + 1)],
            "start_ns": range(count + 2),
            "latency_ns": [10**9, *latency_ns, 1],
            "samples": [batch, *[batch] * count, max(batch - 1, 1)],
        }
    ).write_parquet(path / "latencies.parquet")
    return Run(path)


def test_a_row_for_each_batch_size(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, size, [time] * 3) for size, time in ((4, 2000), (2, 1100), (8, 3900), (2, 1300))]
    found = model_information(runs)
    assert found.select("batch_size", "runs", "latency_ns", "optimal").rows() == [
        (2, 2, 1200, False),
        (4, 1, 2000, True),
        (8, 1, 3900, False),
    ]
    assert found["throughput"].to_list() == pytest.approx([2e9 / 1200, 2e6, 8e9 / 3900])
    assert model_information(runs[:1])["optimal"].to_list() == [None]


def other_run(root: Path, queries: dict[str, list[int]], spans: SpanTable | None = None, **changes: Any) -> Run:
    """A run with these measured queries: their columns."""
    path = write_run(root, f"20261123-2115{len(list(root.glob('*'))):02}-m-1a2b3c4d", **changes)
    count = len(queries["samples"])
    frame = pl.DataFrame({"query": range(count), "phase": ["measured"] * count, **queries})
    frame.write_parquet(path / "latencies.parquet")
    if spans is not None:
        spans.write(path / "spans.parquet")
    return Run(path)


SINGLE = {"start_ns": [0, 100, 200], "latency_ns": [50, 60, 70], "samples": [1, 1, 1]}


def scenario(kind: str) -> dict[str, Any]:
    return {**record()["scenario"], "type": kind}


def test_runs_that_don_t_compare_share_no_row(tmp_path: Path) -> None:
    base = record()
    options = {"compile": True}
    levels = [{"level": level, "predictions": 3, "median_ns": 60.0, "overhead": 0.0} for level in ("model", "layer")]
    changes: list[dict[str, Any]] = [
        {},
        {"evaluation": {"name": "another name", "seed": 3, "limit": 10, "scenario": {"min_duration": 7}}},
        {"trace": {**base["trace"], "level": "layer"}},
        {"trace": {**base["trace"], "level": "layer", "levels": levels}},
        {"scenario": scenario("offline")},
        {"evaluation": {"name": "m", "options": options}},
        {"evaluation": {"name": "m", "options": {"channels_last": True}}},
        {"environment": {**base["environment"], "fingerprint": "ef" * 32}},
    ]
    found = model_information([other_run(tmp_path, SINGLE, **change) for change in changes])
    rows = set(found.select("scenario", "level", "settings", "runs").iter_rows())
    assert rows == {
        ("single_stream", "model", "environment=cdcdcdcd", 3),
        ("single_stream", "model", "environment=cdcdcdcd, options.compile=True", 1),
        ("single_stream", "model", "environment=cdcdcdcd, options.channels_last=True", 1),
        ("single_stream", "model", "environment=efefefef", 1),
        ("single_stream", "layer", None, 1),
        ("offline", "model", None, 1),
    }
    assert set(found["latency_ns"]) == {60.0}


def test_of_server_it_is_the_predictions_that_count(tmp_path: Path) -> None:
    """Three queries that one prediction answered in 40 ns, two and two in 30 ns; each waited until then."""
    queries = {
        "start_ns": [0, 10, 20, 100, 120, 200, 210],
        "waited_ns": [30, 20, 10, 50, 30, 30, 20],
        "latency_ns": [70, 60, 50, 80, 60, 60, 50],
        "samples": [1] * 7,
    }
    run = other_run(tmp_path, queries, scenario=scenario("server"), evaluation={"name": "m", "batch_size": 8})
    (found,) = model_information([run]).iter_rows(named=True)
    assert (found["batch_size"], found["latency_ns"]) == (2, 30)
    assert found["throughput"] == pytest.approx(2e9 / 30)


def test_of_multi_stream_a_query_is_a_prediction_or_the_trace_tells(tmp_path: Path) -> None:
    queries = {"start_ns": [0, 100], "waited_ns": [0, 0], "latency_ns": [80, 90], "samples": [8, 8]}
    facts = {"scenario": scenario("multi_stream"), "trace": {**record()["trace"], "level": "none"}}
    whole, parts = ({"name": "m", "batch_size": size} for size in (8, 3))
    (found,) = model_information([other_run(tmp_path, queries, evaluation=whole, **facts)]).iter_rows(named=True)
    assert (found["batch_size"], found["latency_ns"]) == (8, 85)
    (found,) = model_information([other_run(tmp_path, queries, evaluation=parts, **facts)]).iter_rows(named=True)
    assert (found["batch_size"], found["latency_ns"], found["throughput"], found["optimal"]) == (3, None, None, None)
    made = Spans()
    for number, size in enumerate([3, 3, 2] * 2):
        made.add(None, "predict", "model", number, 0.03, {"mlms.batch_size": size})
    facts["trace"]["level"] = "model"
    traced = other_run(tmp_path, queries, made.table(), evaluation=parts, **facts)
    (found,) = model_information([traced]).iter_rows(named=True)
    assert (found["batch_size"], found["latency_ns"]) == (3, 30)


@given(st.integers(0, 6), st.floats(1.06, 2.0))
def test_the_optimum_is_where_doubling_stops_to_pay(last: int, gain: float) -> None:
    sizes = [2**power for power in range(8)]
    throughputs = [100 * gain ** min(power, last) for power in range(8)]
    assert optimal(sizes, throughputs) == 2**last


def test_an_optimum_needs_two_sizes_and_may_lie_beyond() -> None:
    assert optimal([1], [5.0]) is None
    assert optimal([1, 4], [100.0, 111.0]) == 4, "two doublings at more than 5% each"
    assert optimal([1, 4], [100.0, 110.0]) == 1
