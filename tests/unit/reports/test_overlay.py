from __future__ import annotations

import re

import numpy as np
import pytest

from mlms.reports.overlay import distributions, tradeoff


def test_a_distribution_rises_from_nothing_to_all() -> None:
    random = np.random.default_rng(0)
    curves = distributions([random.integers(1000, 2000, 500), None, random.integers(1500, 2500, 500)])
    assert curves is not None
    first, none, second = curves.paths
    assert none is None
    assert first is not None
    assert second is not None
    for path in (first, second):
        points = [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", path)]
        assert points[0][1] == 1000
        assert points[-1][1] == 0
        assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    assert [tick.label for tick in curves.y] == ["0%", "25%", "50%", "75%", "100%"]


def test_a_stall_does_not_squeeze_the_rest() -> None:
    series = np.full(1000, 1000)
    series[0] = 10**9
    curves = distributions([series, np.arange(900, 1100)])
    assert curves is not None
    assert curves.beyond_ns < 2000


@pytest.mark.parametrize("series", [[], [None, None], [np.array([5]), np.array([6, 7])], [np.array([1, 2]), None]])
def test_one_curve_is_no_comparison(series: list[np.ndarray | None]) -> None:
    assert distributions(series) is None


def test_equal_latencies_have_a_curve() -> None:
    curves = distributions([np.full(10, 7), np.full(10, 7)])
    assert curves is not None
    assert all(curves.paths)


def subject(**figures: float) -> dict[str, dict[str, float]]:
    return {"figures": {name.replace("_", "."): value for name, value in figures.items()}}


def test_faster_is_left_and_more_accurate_is_up() -> None:
    found = tradeoff([subject(latency_p50=2e6, top1=90), subject(top1=1), subject(latency_p50=1e6, top1=80)], "top1")
    assert found is not None
    slow, fast = found.points
    assert (slow.number, fast.number) == (0, 2)
    assert fast.x < slow.x
    assert fast.y < slow.y
    assert not found.log


def test_latencies_far_apart_have_a_logarithmic_axis() -> None:
    found = tradeoff([subject(latency_p50=2e6, top1=90), subject(latency_p50=1e8, top1=90)], "top1")
    assert found is not None
    assert found.log
    assert found.points[0].y == found.points[1].y


def test_no_tradeoff_without_two_points_or_a_metric() -> None:
    assert tradeoff([subject(latency_p50=2e6, top1=90), subject(top1=90)], "top1") is None
    assert tradeoff([subject(latency_p50=2e6)] * 2, None) is None
