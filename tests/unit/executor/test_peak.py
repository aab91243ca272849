"""The search for the largest valid load."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms import api
from mlms.executor.peak import largest_valid, search_of

SERVER = Path(__file__).parents[3] / "manifests" / "digits-server.yaml"


def search(
    limit: float, start: float, *, precision: float = 0.05, whole: bool = False
) -> tuple[float | None, list[float]]:
    """The peak of a system that bears ``limit``, and the loads that were tried."""
    tried: list[float] = []

    def valid(value: float) -> bool:
        tried.append(value)
        return value <= limit

    return largest_valid(valid, start, precision=precision, whole=whole), tried


@given(limit=st.floats(0.5, 1e6), start=st.floats(0.5, 1e6), precision=st.floats(0.01, 0.5))
def test_a_rate_is_found_to_its_precision(limit: float, start: float, precision: float) -> None:
    found, tried = search(limit, start, precision=precision)
    assert found is not None
    assert found <= limit <= found * (1 + precision) * 1.001
    assert len(tried) == len(set(tried)), "no load is tried twice"


@given(limit=st.integers(1, 10_000), start=st.integers(1, 10_000))
def test_a_count_is_found_exactly_where_the_precision_asks_for_it(limit: int, start: int) -> None:
    found, tried = search(limit, start, precision=1e-9, whole=True)
    assert found == limit
    assert all(value == int(value) >= 1 for value in tried)


def test_no_load_is_valid() -> None:
    assert search(0, 8, whole=True) == (None, [8, 4, 2, 1])
    found, tried = search(0, 100)
    assert found is None
    assert len(tried) == 30


@given(limit=st.floats(0.5, 1e6), start=st.floats(100, 1e6), least=st.floats(1, 100))
def test_no_load_below_the_least_is_tried(limit: float, start: float, least: float) -> None:
    tried: list[float] = []

    def valid(value: float) -> bool:
        tried.append(value)
        return value <= limit

    found = largest_valid(valid, start, precision=0.05, whole=False, least=least)
    assert min(tried) >= least
    assert len(tried) == len(set(tried))
    assert (found is None) == (limit < least)


def test_the_least_rate_makes_the_queries_of_the_tail_within_the_longest_duration() -> None:
    search = search_of(api.plan(SERVER, overrides=["scenario.max_duration=10s", "scenario.target_qps=1"]))
    assert search.least == search.start == pytest.approx(1.15 * 662 / 10, rel=1e-3)
    assert "662 queries take longer than max_duration (10 s)" in search.below
    few = search_of(api.plan(SERVER, overrides=["scenario.max_duration=100s", "scenario.target_qps=200"]))
    assert (few.start, few.least) == (200, pytest.approx(7.613))


def test_any_load_is_valid() -> None:
    found, tried = search(float("inf"), 1)
    assert found == tried[-1] > 1e8


def test_the_same_answers_ask_the_same_loads() -> None:
    assert search(700, 90) == search(700, 90)
