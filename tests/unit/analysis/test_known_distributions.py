"""What the analyses say of predictors whose latency distribution is known, over 200 seeded repetitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from fakes.series import SHARE_OF_STALLS, bimodal, drifting, fixed, noise, true_percentile, with_stalls
from mlms.analysis.intervals import quantile_interval
from mlms.analysis.latency import early_stopping_bound, summarize
from mlms.analysis.steadiness import steadiness

REPETITIONS = 200

Series = npt.NDArray[np.int64]
Make = Callable[[np.random.Generator], Series]


def labels(make: Make) -> Counter[str]:
    return Counter(steadiness(make(np.random.default_rng(seed))).label for seed in range(REPETITIONS))


@pytest.mark.parametrize("queries", [1250, 10_000])
@pytest.mark.parametrize(("spread", "memory"), [(0.0005, 0.0), (0.05, 0.3), (0.1, 0.5)])
def test_a_fixed_distribution_is_steady(queries: int, spread: float, memory: float) -> None:
    assert labels(lambda random: fixed(random, queries, spread, memory))["steady"] >= 0.99 * REPETITIONS


@pytest.mark.parametrize("queries", [1250, 10_000])
def test_rare_stalls_leave_it_steady_and_are_counted(queries: int) -> None:
    def make(random: np.random.Generator) -> Series:
        return with_stalls(random, fixed(random, queries))

    assert labels(make)["steady"] >= 0.99 * REPETITIONS
    random = np.random.default_rng(1)
    series = fixed(random, queries)
    stalled = with_stalls(random, series)
    found = summarize(stalled)["outliers"]
    assert found["count"] == (stalled > series).sum() > 0
    assert found["share"] == pytest.approx(SHARE_OF_STALLS, rel=0.5)


def test_a_drift_is_told() -> None:
    assert labels(lambda random: drifting(fixed(random)))["drifting"] >= 0.95 * REPETITIONS


def test_two_modes_are_told() -> None:
    assert labels(lambda random: bimodal(random, fixed(random)))["bimodal"] >= 0.99 * REPETITIONS


@pytest.mark.parametrize("make", [drifting, lambda series: bimodal(np.random.default_rng(0), series, 0.12)])
def test_neither_is_called_steady(make: Callable[[Series], Series]) -> None:
    assert labels(lambda random: make(fixed(random)))["steady"] <= 0.01 * REPETITIONS


KNOWN: dict[str, tuple[Make, str]] = {
    "fixed": (lambda random: fixed(random, 3000, memory=0.0), "fixed"),
    "with memory": (lambda random: fixed(random, 3000, memory=0.4), "fixed"),
    "stalls": (lambda random: with_stalls(random, fixed(random, 3000, memory=0.0)), "stalls"),
    "bimodal": (lambda random: bimodal(random, fixed(random, 3000, memory=0.0)), "bimodal"),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0])
def test_intervals_hold_the_true_percentile_at_their_rate(name: str, percentile: float) -> None:
    make, distribution = KNOWN[name]
    truth = true_percentile(distribution, percentile)
    held = 0
    for seed in range(REPETITIONS):
        found = quantile_interval(make(np.random.default_rng(seed)), percentile / 100)
        held += truth in found
    # 95% less three standard errors of a share of 200.
    assert held / REPETITIONS >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / REPETITIONS)


@pytest.mark.parametrize("name", ["fixed", "stalls", "bimodal"])
@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0])
def test_the_bound_holds_the_true_percentile_at_its_rate(name: str, percentile: float) -> None:
    make, distribution = KNOWN[name]
    truth = true_percentile(distribution, percentile)
    held = 0
    for seed in range(REPETITIONS):
        bound = early_stopping_bound(np.sort(make(np.random.default_rng(seed))), percentile)
        assert bound is not None
        held += bound >= truth
    assert held / REPETITIONS >= 0.99 - 3 * math.sqrt(0.99 * 0.01 / REPETITIONS)


def test_the_noise_is_what_it_says() -> None:
    logs = np.log(noise(np.random.default_rng(0), 200_000, 0.1, 0.5))
    assert logs.std() == pytest.approx(0.1, rel=0.02)
    assert np.corrcoef(logs[1:], logs[:-1])[0, 1] == pytest.approx(0.5, abs=0.02)
