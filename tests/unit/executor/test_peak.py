"""The search for the largest valid load."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlms.executor.peak import largest_valid


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


def test_any_load_is_valid() -> None:
    found, tried = search(float("inf"), 1)
    assert found == tried[-1] > 1e8


def test_the_same_answers_ask_the_same_loads() -> None:
    assert search(700, 90) == search(700, 90)
