"""Latency and throughput by batch size."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.records import write_run
from mlms.analysis.across_stack.model import model_information, optimal
from mlms.runs.run import Run


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


@given(st.integers(0, 6), st.floats(1.06, 2.0))
def test_the_optimum_is_where_doubling_stops_to_pay(last: int, gain: float) -> None:
    sizes = [2**power for power in range(8)]
    throughputs = [100 * gain ** min(power, last) for power in range(8)]
    assert optimal(sizes, throughputs) == 2**last


def test_an_optimum_needs_two_sizes_and_may_lie_beyond() -> None:
    assert optimal([1], [5.0]) is None
    assert optimal([1, 4], [100.0, 111.0]) == 4, "two doublings at more than 5% each"
    assert optimal([1, 4], [100.0, 110.0]) == 1
