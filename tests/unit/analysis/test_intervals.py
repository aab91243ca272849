from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.analysis.bootstrap import (
    block_length,
    block_quantiles,
    block_rates,
    effective_size,
    expanded,
    paired_mean_interval,
)
from mlms.analysis.intervals import mean_interval, newcombe, quantile_interval, student_quantile, welch_ratio, wilson


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share_and_stays_within_0_and_1(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    found = wilson(successes, trials)
    assert 0 <= found.low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= found.high <= 1


def test_wilson_of_none_and_of_all() -> None:
    assert wilson(0, 10).high == pytest.approx(0.2775, abs=5e-5)
    assert wilson(10, 10).low == pytest.approx(0.7225, abs=5e-5)


def test_newcombes_own_example() -> None:
    found = newcombe((48 / 80, 80), (56 / 70, 70))
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


@pytest.mark.parametrize(("freedom", "t"), [(1, 63.657), (2, 9.925), (3.5, 5.040), (10, 3.169), (120, 2.617)])
def test_students_99_percent(freedom: float, t: float) -> None:
    assert student_quantile(freedom, 0.99) == pytest.approx(t, rel=0.01)


def test_mean_interval_covers_at_its_rate() -> None:
    random = np.random.default_rng(0)
    held = sum(5.0 in mean_interval(random.normal(5, 1, 4).tolist()) for _ in range(2000))
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_welchs_ratio_covers_at_its_rate() -> None:
    random = np.random.default_rng(0)

    def group(median: float, spread: float) -> list[float]:
        return (median * np.exp(spread * random.standard_normal(3))).tolist()

    held = sum(1.1 in welch_ratio(group(10, 0.02), group(11, 0.02)) for _ in range(2000))
    assert 0.93 <= held / 2000 <= 0.985  # Welch's is a little wide for groups of three


def test_equal_repeats_have_an_interval_of_one_point() -> None:
    found = welch_ratio([2.0, 2.0, 2.0], [3.0, 3.0, 3.0])
    assert found.low == found.high == pytest.approx(1.5)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=300), st.floats(0.01, 0.99))
def test_a_quantiles_interval_holds_the_quantile(values: list[int], level: float) -> None:
    series = np.array(values)
    found = quantile_interval(series, level)
    assert found.low <= np.sort(series)[math.ceil(level * len(series)) - 1] <= found.high


@given(st.integers(2, 6000), st.integers(0, 5))
def test_resampled_quantiles_are_values_of_the_series_in_order(count: int, seed: int) -> None:
    series = np.random.default_rng(seed).integers(1, 10**6, count)
    drawn = block_quantiles(series, [0.5, 0.9, 0.99], seed, resamples=20)
    assert drawn.shape == (20, 3)
    assert np.isin(drawn, series).all()
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert block_length(count) <= count


def test_resamples_of_a_long_series_are_fine_in_the_tail() -> None:
    series = np.exp(0.1 * np.random.default_rng(0).standard_normal(200_000)) * 1e6
    drawn = block_quantiles(series, [0.5, 0.999], 0)
    for number, level in enumerate([0.5, 0.999]):
        assert np.median(drawn[:, number]) == pytest.approx(np.quantile(series, level), rel=0.003)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.999])
def test_resamples_of_a_long_series_vary_as_its_quantile_does(level: float) -> None:
    count = 300_000
    series = np.random.default_rng(0).exponential(1e6, count)
    drawn = block_quantiles(series, [0.5, 0.9, 0.999], 0)[:, [0.5, 0.9, 0.999].index(level)]
    error = math.sqrt(level / (1 - level) / count) * 1e6  # the density at the quantile is (1 - level) / 1e6
    assert drawn.std() == pytest.approx(error, rel=0.4)  # 32 blocks tell a deviation within some 13 %
    assert abs(np.median(drawn) - np.quantile(series, level)) < 0.3 * error


def test_resamples_of_a_long_series_whose_neighbours_are_alike_vary_as_its_blocks_do() -> None:
    series = np.repeat(np.random.default_rng(0).normal(1e6, 1e5, 64), 4000)
    drawn = block_quantiles(series, [0.5], 0)
    assert drawn.std() == pytest.approx(1.25 * 1e5 / math.sqrt(64), rel=0.35)
    assert len(np.unique(drawn)) > 10


def test_resampled_rates() -> None:
    times = np.random.default_rng(0).integers(90, 110, 5000)
    rates = block_rates(np.full(5000, 4), times, 0)
    assert np.median(rates) == pytest.approx(4 / times.mean(), rel=0.001)
    assert rates.std() / rates.mean() == pytest.approx(times.std() / times.mean() / math.sqrt(5000), rel=0.3)


def test_blocks_keep_what_neighbours_share() -> None:
    slow = np.repeat(np.random.default_rng(0).normal(1000, 100, 100), 20)
    shuffled = np.random.default_rng(1).permutation(slow)
    assert block_quantiles(slow, [0.5], 0).std() > 2 * block_quantiles(shuffled, [0.5], 0).std()


def test_paired_bootstrap_is_the_normal_one_for_many_samples() -> None:
    differences = np.array([1.0] * 60 + [-1.0] * 40 + [0.0] * 900)
    found = paired_mean_interval(differences)
    error = differences.std(ddof=1) / math.sqrt(1000)
    assert found.low == pytest.approx(0.02 - 1.96 * error, abs=0.001)
    assert found.high == pytest.approx(0.02 + 1.96 * error, abs=0.001)


def test_few_blocks_make_a_wider_interval() -> None:
    shares = [expanded(0.95, blocks) for blocks in (2, 4, 16, 32, 10_000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0.95, abs=1e-4)
    assert expanded(0.95, 1) == 1.0


def test_a_variance_rests_on_the_stalls_where_there_are_any() -> None:
    random = np.random.default_rng(0)
    series = np.exp(random.normal(0, 0.1, 10_000))
    assert effective_size(series) == pytest.approx(10_000 / 3.2, rel=0.1)  # by the kurtosis of a lognormal
    series[::1000] *= 100
    assert effective_size(series) == pytest.approx(10, rel=0.1)
    assert effective_size(np.full(50, 3.0)) == 50
