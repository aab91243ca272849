from __future__ import annotations

import pytest

from mlms.analysis.comparison import Comparison, Contrast
from mlms.analysis.effects import Effect
from mlms.analysis.thresholds import Threshold, hits, parse_threshold
from mlms.errors import InputError, UnknownNameError


@pytest.mark.parametrize(
    ("text", "metric", "above", "limit", "ratio"),
    [
        ("latency.p90 > 1.05x", "latency.p90", True, 1.05, True),
        ("latency.p90>1.05x", "latency.p90", True, 1.05, True),
        ("latency.p99.9 1.05x", "latency.p99.9", True, 1.05, True),
        ("throughput 0.95x", "throughput", False, 0.95, True),
        ("throughput < 0.95X", "throughput", False, 0.95, True),
        ("top1 -0.5", "top1", False, -0.5, False),
        (" top1 < -.5 ", "top1", False, -0.5, False),
        ("wer +1", "wer", True, 1.0, False),
        ("top1 < +0", "top1", False, 0.0, False),
        ("loss > 2e-1x", "loss", True, 0.2, True),
    ],
)
def test_thresholds(text: str, metric: str, above: bool, limit: float, ratio: bool) -> None:
    assert parse_threshold(text) == Threshold(text.strip(), metric, above, limit, ratio)


@pytest.mark.parametrize("text", ["", "top1", "top1 <", "< 1x", "top1-0.5", "top1 == 1x", "top1 < -0.5 pp", "top1 < x"])
def test_no_thresholds(text: str) -> None:
    with pytest.raises(InputError, match="is no threshold"):
        parse_threshold(text)


def test_a_bare_number_could_mean_anything() -> None:
    with pytest.raises(InputError, match="neither a ratio nor a difference"):
        parse_threshold("top1 < 98")


@pytest.mark.parametrize("text", ["latency.p90 > 0x", "latency.p90 > -1x"])
def test_a_ratio_is_positive(text: str) -> None:
    with pytest.raises(InputError, match="a ratio is more than 0"):
        parse_threshold(text)


def comparison() -> Comparison:
    effects = (
        Effect("latency.p90", "ns", 100.0, 106.0, "ratio", 1.06, None, None, "worse"),
        Effect("top1", "%", 90.0, 89.25, "difference", -0.75, None, None, "not distinguishable"),
    )
    units = {"top1": "%", "latency.p90": "ns", "latency.p99": "ns"}
    return Comparison((), (Contrast("b", effects, (), (), True, ("why not",)),), (), 0.01, units)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency.p90 > 1.05x", "latency.p90 is 1.06x, above 1.05x (worse)"),
        ("latency.p90 > 1.07x", None),
        ("latency.p90 > +5", "latency.p90 is +6, above +5 (worse)"),
        ("top1 -0.5", "top1 is -0.75, below -0.5 (not distinguishable)"),
        ("top1 < -1.0", None),
        ("top1 < 0.995x", "top1 is 0.9917x, below 0.995x (not distinguishable)"),
        ("latency.p99 > 1.05x", "latency.p99 could not be compared: why not"),
    ],
)
def test_hits(text: str, message: str | None) -> None:
    found = hits(comparison(), [parse_threshold(text)])
    assert [hit.message for hit in found] == ([message] if message else [])


def test_a_metric_that_nobody_has_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"no metric 'latency\.p9' here") as caught:
        hits(comparison(), [parse_threshold("latency.p9 > 1.1x")])
    assert caught.value.hint == "did you mean 'latency.p99'?"
