from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.counters import at, counter
from mlms.analysis.counters import summarize_counters


def test_a_gauge_is_told_by_its_samples_in_the_window() -> None:
    (found,) = summarize_counters([counter("load", [9, 1, 3, 2, 9], unit="W", id="a")], (at(0.05), at(0.35)))
    assert found == {
        "name": "load",
        "unit": "W",
        "kind": "gauge",
        "attributes": {"id": "a"},
        "samples": 3,
        "min": 1.0,
        "median": 2.0,
        "max": 3.0,
        "last": 2.0,
        "increase": None,
    }


def test_a_sum_is_told_by_its_rates_and_by_what_it_rose() -> None:
    counted = counter("faults", [0, 10, 10, 40, 41], kind="sum", unit="{fault}")
    (found,) = summarize_counters([counted], (at(0.15), at(0.25)))
    assert (found["samples"], found["min"], found["median"], found["max"], found["last"]) == pytest.approx(
        (2, 0, 150, 300, 300)
    )
    assert found["increase"] == pytest.approx(15)
    (whole,) = summarize_counters([counted], (at(0), at(0.4)))
    assert whole["increase"] == pytest.approx(41)
    assert whole["median"] == pytest.approx(55)


def test_what_has_no_sample_in_the_window_is_left_out() -> None:
    several = [counter("a", [1]), counter("b", [0], kind="sum"), counter("c", [0, 1], kind="sum"), counter("d", [])]
    assert summarize_counters(several, (at(5), at(6))) == []
    assert [found["name"] for found in summarize_counters(several, (at(0.01), at(0.05)))] == ["c"]


def test_values_that_are_none_don_t_count() -> None:
    (found,) = summarize_counters([counter("a", [1, np.inf, np.nan, 3])], (at(0), at(1)))
    assert (found["samples"], found["max"]) == (2, 3.0)
    (found,) = summarize_counters([counter("a", [0, np.nan, 20, 30], kind="sum")], (at(0), at(0.3)))
    assert (found["samples"], found["increase"], found["max"]) == (2, 30.0, pytest.approx(100))


@given(
    st.lists(st.floats(), max_size=8),
    st.sampled_from(["gauge", "sum"]),
    st.one_of(st.floats(), st.text(), st.just(np.float32(1))),
)
def test_whatever_a_profiler_samples_the_record_can_hold(values: list[float], kind: Any, attribute: Any) -> None:
    found = summarize_counters([counter("a", values, kind=kind, about=attribute)], (at(0), at(1)))
    assert len(json.loads(json.dumps(found, allow_nan=False))) == len(found)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30), st.floats(0, 3), st.floats(0, 3))
def test_a_sum_rises_over_two_windows_by_what_it_does_over_both(steps: list[int], one: float, other: float) -> None:
    counted = counter("faults", np.cumsum(steps).tolist(), kind="sum")
    first, last = 0.0, (len(steps) - 1) / 10
    begin, end = sorted(min(max(x, first), last) for x in (one, other))

    def rise(start: float, stop: float) -> float:
        found = summarize_counters([counted], (at(start), at(stop)))
        return float(found[0]["increase"]) if found else 0.0

    assert rise(first, begin) + rise(begin, end) + rise(end, last) == pytest.approx(rise(first, last), abs=1e-6)
