from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.reports.charts import MOST_POINTS, TIME_BINS, histogram, timeline


def bar_heights(path: str) -> list[float]:
    return [1000 - float(top) for top in re.findall(r"V([\d.]+)H", path)]


def frame(latencies: list[int], starts: list[int], warm: int = 0) -> pl.DataFrame:
    phases = ["warmup"] * warm + ["measured"] * (len(latencies) - warm)
    return pl.DataFrame({"phase": phases, "start_ns": starts, "latency_ns": latencies})


def test_bars_are_as_high_as_their_counts() -> None:
    chart = histogram(np.array([10_000] * 30 + [20_000] * 10 + [30_000] * 20), [])
    assert chart is not None
    heights = bar_heights(chart.bars)
    assert [round(height / max(heights), 3) for height in heights] == [1.0, 0.333, 0.667]
    assert chart.beyond == 0
    assert chart.tail == ""


def test_a_long_tail_is_gathered_in_one_bar() -> None:
    values = np.concatenate([np.linspace(100_000, 110_000, 1000), [5_000_000.0] * 3]).astype(np.int64)
    chart = histogram(values, [])
    assert chart is not None
    assert chart.beyond == 3
    assert chart.limit_ns < 120_000
    assert len(bar_heights(chart.tail)) == 1


def test_percentiles_are_marked_where_known_and_on_the_axis() -> None:
    entries = [
        {"percentile": 50.0, "value": 105_000, "needed": 11},
        {"percentile": 90.0, "value": 105_100, "needed": 64},
        {"percentile": 99.0, "value": None, "needed": 662},
        {"percentile": 99.9, "value": 9_000_000, "needed": 6636},
    ]
    chart = histogram(np.linspace(100_000, 110_000, 1000).astype(np.int64), entries)
    assert chart is not None
    assert [(mark.label, mark.row) for mark in chart.marks] == [("p50", 0), ("p90", 1)]


@pytest.mark.parametrize("values", [[], [5]])
def test_too_few_queries_have_no_histogram(values: list[int]) -> None:
    assert histogram(np.array(values, dtype=np.int64), []) is None


@given(st.lists(st.integers(0, 10**13), min_size=2, max_size=200))
def test_a_histogram_shows_every_query(values: list[int]) -> None:
    chart = histogram(np.array(values, dtype=np.int64), [])
    assert chart is not None
    inside = sum(value <= chart.limit_ns for value in values)
    assert chart.beyond == len(values) - inside
    numbers = [float(number) for number in re.findall(r"[\d.]+", chart.bars + chart.tail)]
    assert all(0 <= number <= 1000 for number in numbers)
    assert 0 < chart.bars.count("Z") <= 81


def test_few_queries_are_dots() -> None:
    chart = timeline(frame([100, 200, 300], [0, 1000, 2000], warm=1))
    assert chart is not None
    assert (chart.warmup.count("h0"), chart.measured.count("h0")) == (1, 2)
    assert chart.warmup_end == 0.0
    assert chart.bins is None


def test_many_queries_are_ranges_that_keep_the_extremes() -> None:
    values = [100] * (MOST_POINTS + 1)
    values[500], values[900] = 160, 40
    chart = timeline(frame(values, list(range(len(values)))))
    assert chart is not None
    assert chart.bins == TIME_BINS
    assert chart.measured.count("M") == TIME_BINS
    strokes = re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", chart.measured)
    high = 160 * 1.05
    assert min(float(top) for _, top in strokes) == pytest.approx(1000 * (1 - 160 / high), abs=0.2)
    assert max(float(bottom) for bottom, _ in strokes) == pytest.approx(1000 * (1 - 40 / high), abs=0.2)
    assert chart.median.count("L") == TIME_BINS - 1


def test_queries_that_start_together_are_numbered() -> None:
    chart = timeline(frame([100, 200, 300], [7, 7, 7]))
    assert chart is not None
    assert chart.numbered
    assert [tick.label for tick in chart.x] == ["0", "1", "2"]


def test_outliers_make_the_scale_logarithmic() -> None:
    even = timeline(frame([100, 110, 120], [0, 1, 2]))
    uneven = timeline(frame([100, 110, 12_000], [0, 1, 2]))
    assert even is not None
    assert uneven is not None
    assert (even.log, uneven.log) == (False, True)


def test_no_queries_have_no_timeline() -> None:
    assert timeline(frame([], [])) is None
