from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.reports.axes import Axis, axis_duration, round_step, spread


def test_linear_ticks_are_multiples_of_a_round_step() -> None:
    ticks = Axis(74_000, 110_000).duration_ticks()
    assert [tick.label for tick in ticks] == ["80 µs", "90 µs", "100 µs", "110 µs"]
    assert [tick.position for tick in ticks] == [16.67, 44.44, 72.22, 100.0]


def test_logarithmic_ticks_are_one_two_and_five() -> None:
    labels = [tick.label for tick in Axis(60e3, 1.2e6, log=True).duration_ticks(4)]
    assert labels == ["100 µs", "200 µs", "500 µs", "1 ms"]


def test_many_decades_have_few_ticks() -> None:
    assert len(Axis(1, 1e12, log=True).values(4)) <= 6


def test_counts_are_whole_numbers() -> None:
    assert [tick.label for tick in Axis(0, 2.1).count_ticks()] == ["0", "1", "2"]


@given(st.floats(1e-3, 1e15), st.floats(1.000_001, 1e6), st.booleans())
def test_ticks_lie_on_the_axis_in_order(low: float, ratio: float, log: bool) -> None:
    axis = Axis(low, low * ratio, log)
    positions = [tick.position for tick in axis.duration_ticks()]
    assert positions == sorted(positions)
    assert all(0 <= position <= 100 for position in positions)
    assert len(positions) <= 10


@given(st.floats(1e-9, 1e15))
def test_a_round_step_is_at_most_two_and_a_half_times_as_wide(raw: float) -> None:
    assert raw * (1 - 1e-6) <= round_step(raw) <= raw * 2.5 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950 ns"), (1e6, "1 ms"), (2.5e9, "2.5 s"), (999_999.9999999, "1 ms")]
)
def test_axis_duration(value: float, text: str) -> None:
    assert axis_duration(value) == text


@given(st.lists(st.floats(0, 100), max_size=20).map(sorted), st.floats(0.1, 30))
def test_labels_of_a_row_keep_their_distance(positions: list[float], apart: float) -> None:
    rows = spread(positions, apart)
    for row in set(rows):
        ours = [position for position, other in zip(positions, rows, strict=True) if other == row]
        assert all(right - left >= apart for left, right in pairwise(ours))
