from __future__ import annotations

import numpy as np
import pytest

from fakes.series import bimodal, drifting, fixed
from mlms.analysis.steadiness import FEWEST, METHOD, modes, steadiness, trend


def test_too_few_queries_are_not_judged() -> None:
    found = steadiness(np.arange(1, FEWEST))
    assert (found.label, found.reasons) == ("unknown", ("99 of at least 100 queries",))
    assert steadiness(np.full(FEWEST, 5)).label == "steady"


def test_the_reasons_are_figures() -> None:
    series = fixed(np.random.default_rng(0), spread=0.02)
    assert steadiness(series).as_data() == {"label": "steady", "reasons": [], "method": METHOD}
    (reason,) = steadiness(drifting(series, 0.3)).reasons
    assert reason.startswith("latency gets 2")
    assert "slower from start to end (trend, p = 8e-05)" in reason
    (reason,) = steadiness(drifting(series, -0.3)).reasons
    assert "faster from start to end" in reason
    (reason,) = steadiness(bimodal(np.random.default_rng(0), series)).reasons
    assert reason.startswith("two modes, 1.5")
    assert "around the slower" in reason


def test_a_hump_has_no_trend_but_is_not_steady() -> None:
    series = fixed(np.random.default_rng(0), spread=0.02)
    hump = np.rint(series * (1 + 0.3 * np.sin(np.pi * np.arange(len(series)) / len(series)))).astype(np.int64)
    found = steadiness(hump)
    assert found.label == "not steady"
    assert "of the run is 1.2" in found.reasons[0]


def test_modes_that_alternate_for_long_are_bimodal() -> None:
    series = fixed(np.random.default_rng(0), spread=0.02)
    turns = np.where(np.arange(len(series)) // 150 % 2, 1.3, 1.0)
    assert steadiness(np.rint(series * turns).astype(np.int64)).label == "bimodal"


@pytest.mark.parametrize("change", [0.02, -0.02])
def test_a_change_too_small_to_mention_is_steady(change: float) -> None:
    series = fixed(np.random.default_rng(0), spread=0.001)
    assert steadiness(drifting(series, change)).label == "steady"


@pytest.mark.parametrize("queries", [300, 1000])
def test_wide_modes_are_seen_and_one_wide_mode_is_one(queries: int) -> None:
    random = np.random.default_rng(2)

    def labels(share: float) -> list[str]:
        noise = np.exp(random.normal(0, 0.1, (40, queries)))
        return [steadiness(series * np.where(random.random(queries) < share, 1.5, 1.0) * 1e6).label for series in noise]

    assert labels(0.5).count("bimodal") >= 34
    assert labels(0.0).count("bimodal") <= 1


def test_modes_too_close_to_mention_are_steady() -> None:
    random = np.random.default_rng(0)
    series = np.where(random.random(2000) < 0.5, 1_000_000, 1_030_000)
    assert steadiness(series).label == "steady"


def test_modes_are_where_they_are() -> None:
    random = np.random.default_rng(0)
    found = modes(bimodal(random, fixed(random, 20_000, 0.03, 0.0, 1e6), 0.25).astype(np.float64))
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(1e6, rel=0.02), pytest.approx(1.5e6, rel=0.02))
    assert found.share_high == pytest.approx(0.25, abs=0.02)
    assert found.valley < 0.05


def test_trends() -> None:
    rising = trend(np.arange(100.0, 110.0))
    assert rising.change == pytest.approx(9 / 104.5)
    assert rising.p == pytest.approx(8.3e-5, rel=0.01)  # (45 - 1) / sqrt(125) standard deviations
    assert trend(np.full(10, 3.0)).p == 1.0
    assert trend(np.array([1.0, 2.0] * 5)).p > 0.1


def test_a_constant_series_and_one_of_zeros() -> None:
    assert steadiness(np.zeros(500, dtype=np.int64)).label == "steady"
    assert steadiness(np.full(500, 10**9)).label == "steady"
