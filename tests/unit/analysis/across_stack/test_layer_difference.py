"""Which layers explain the difference between two runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.traced_runs import Spans, layer, small_table, traced_run
from mlms.analysis.across_stack.layer_difference import difference_by_type, layer_difference
from mlms.analysis.across_stack.layers import OUTSIDE
from mlms.analysis.across_stack.trace import read_trace


def test_the_layer_that_became_slower_explains_all(tmp_path: Path) -> None:
    before, after = (read_trace(traced_run(tmp_path, small_table(factor))) for factor in (1.0, 2.0))
    found = layer_difference(before, after)
    conv = found.row(0, named=True)
    assert (conv["name"], conv["type"], conv["before_ns"], conv["after_ns"]) == ("conv", "Conv2d", 66_000, 132_000)
    assert conv["explained"] == pytest.approx(100)
    assert conv["certain"], "72 µs at most against 120 µs at least"
    assert found.filter(name="relu")["difference_ns"].to_list() == [0, 0]
    assert not any(found.filter(name="relu")["certain"])
    last = found.row(-1, named=True)
    assert (last["name"], last["difference_ns"], last["certain"]) == (OUTSIDE, 0, None)
    by_type = difference_by_type(before, after)
    assert by_type.row(0, named=True) == {
        "type": "Conv2d",
        "count": 1,
        "before_ns": 66_000,
        "after_ns": 132_000,
        "difference_ns": 66_000,
        "explained": pytest.approx(100),
        "certain": 1,
    }
    assert by_type["type"][-1] == OUTSIDE


def test_a_layer_that_only_one_run_has(tmp_path: Path) -> None:
    before, after = (read_trace(traced_run(tmp_path, small_table(drop=drop))) for drop in (None, "conv"))
    found = layer_difference(before, after)
    conv = found.filter(name="conv").row(0, named=True)
    assert (conv["before_ns"], conv["after_ns"], conv["difference_ns"]) == (66_000, None, -66_000)
    assert conv["certain"]
    block = found.filter(name="block").row(0, named=True)
    assert block["difference_ns"] == 66_000, "what conv no longer takes counts as its container's own"
    assert found["explained"].null_count() == found.height, "the predictions took as long"


def test_a_run_against_itself_has_no_difference(tmp_path: Path) -> None:
    trace = read_trace(traced_run(tmp_path, small_table()))
    found = layer_difference(trace, trace)
    assert set(found["difference_ns"]) == {0}
    assert not any(found["certain"].drop_nulls())


def test_a_layer_that_runs_more_seldom_takes_less_of_a_prediction(tmp_path: Path) -> None:
    traces = []
    for seldom in (1, 4):
        made = Spans()
        for number in range(8):
            prediction = made.add(None, "predict", "model", 1000 * number, 100)
            if number % seldom == 0:
                made.add(prediction, "expert", "layer", 1000 * number, 40, layer("Linear"))
        traces.append(read_trace(traced_run(tmp_path, made.table())))
    (expert, *_) = layer_difference(*traces).iter_rows(named=True)
    assert (expert["before_ns"], expert["after_ns"], expert["certain"]) == (40_000, 10_000, True)
    (by_type, *_) = difference_by_type(*traces).iter_rows(named=True)
    assert by_type["difference_ns"] == -30_000
