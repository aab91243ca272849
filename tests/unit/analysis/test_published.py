from __future__ import annotations

import pytest

from mlms.analysis.intervals import Interval
from mlms.analysis.published import judged, metric_interval, reproduced


def metric(
    value: float | None, published: float | None = None, samples: int = 450, unit: str = "%"
) -> dict[str, object]:
    figure = None if published is None else {"value": published, "dataset": "d", "source": None, "difference": 0.0}
    return {"name": "top1", "value": value, "unit": unit, "samples": samples, "published": figure}


def test_a_share_has_the_binomial_interval_of_its_samples() -> None:
    found = judged(metric(100 * 446 / 450, 99.1111))
    assert found["interval"]["low"] == pytest.approx(97.74, abs=0.01)
    assert found["interval"]["high"] == pytest.approx(99.65, abs=0.01)
    assert found["published"]["reproduced"] is True


@pytest.mark.parametrize(("published", "answer"), [(98.0, True), (96.0, False), (99.9, False)])
def test_the_interval_decides_beyond_rounding(published: float, answer: bool) -> None:
    assert judged(metric(100 * 446 / 450, published))["published"]["reproduced"] is answer


@pytest.mark.parametrize(
    ("value", "published", "answer"),
    [(0.12344, 0.1234, True), (0.12346, 0.1234, None), (27.0, 27.0, True), (27.2, 27.0, None), (1e-7, 1.2e-7, None)],
)
def test_without_an_interval_only_rounding_tells(value: float, published: float, answer: bool | None) -> None:
    assert judged(metric(value, published, unit=""))["published"]["reproduced"] is answer


def test_a_large_datasets_interval_is_narrow() -> None:
    found = metric_interval(100 * 28261 / 50000, "%", 50_000)
    assert found is not None
    assert found.high - found.low == pytest.approx(0.87, abs=0.01)
    assert reproduced(56.522, 57.0, found) is False


@pytest.mark.parametrize(("value", "samples"), [(33.3, 450), (-1.0, 100), (101.0, 100), (None, 100), (50.0, 0)])
def test_what_is_no_share_of_the_samples_has_no_interval(value: float | None, samples: int) -> None:
    assert metric_interval(value, "%", samples) is None


def test_nothing_to_compare() -> None:
    assert judged(metric(None, 56.5))["published"]["reproduced"] is None
    assert judged(metric(50.0))["published"] is None
    assert reproduced(56.5, 56.5, Interval(0, 1, 0.95, "")) is True
