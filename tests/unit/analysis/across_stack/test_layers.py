"""Layers by hand, and of a real ResNet-50."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.traced_runs import Spans, layer, resnet50, small_table, traced_run
from mlms.analysis.across_stack import layers
from mlms.analysis.across_stack.bound import bounds_by_type, layer_bounds, model_bound_ns
from mlms.analysis.across_stack.trace import Trace, read_trace
from mlms.hooks import Roof
from mlms.runs.run import Run


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return read_trace(traced_run(tmp_path, small_table()))


def test_layers_come_in_order_of_execution_with_all_that_is_known(trace: Trace) -> None:
    found = layers.layer_information(trace)
    assert found.select("index", "name", "call", "predictions").rows() == [
        (0, "block", 0, 3),
        (1, "conv", 0, 3),
        (2, "relu", 0, 3),
        (3, "relu", 1, 3),
        (4, "head", 0, 3),
    ]
    conv = found.row(1, named=True)
    assert (conv["input_shapes"], conv["output_shapes"]) == ("4x250", "4x500")
    assert (conv["flops"], conv["parameters"], conv["parameter_bytes"]) == (4_000_000, 10, 40)
    assert found["self_flops"].to_list() == [0, 4_000_000, 0, 0, 8_000], "block's FLOPs are conv's"


def test_latencies_are_medians_of_the_measured_predictions(trace: Trace) -> None:
    found = layers.layer_latency(trace)
    assert found["total_ns"].to_list() == [88_000, 66_000, 5_000, 5_000, 11_000]
    assert found["self_ns"].to_list() == [12_000, 66_000, 5_000, 5_000, 11_000]
    assert found["share"].to_list() == pytest.approx([100 * own / 110_000 for own in found["self_ns"]])


def test_memory_is_that_of_the_leaves(trace: Trace) -> None:
    found = layers.layer_memory(trace)
    assert found.select("name", "memory_bytes", "parameter_bytes").rows() == [
        ("conv", 8000, 40),
        ("relu", 8000, 0),
        ("relu", 8000, 0),
        ("head", 16, 4000),
    ]
    by_type = layers.memory_by_type(trace)
    assert by_type.select("type", "count", "memory_bytes").rows() == [
        ("ReLU", 2, 16000),
        ("Conv2d", 1, 8000),
        ("Linear", 1, 16),
    ]
    assert by_type["share"].sum() == pytest.approx(100)


def test_types_are_counted_by_calls(trace: Trace) -> None:
    assert layers.layer_types(trace).rows() == [
        ("ReLU", 2, 40.0),
        ("Block", 1, 20.0),
        ("Conv2d", 1, 20.0),
        ("Linear", 1, 20.0),
    ]


def test_time_by_type_is_the_median_of_sums_and_accounts_for_the_prediction(trace: Trace) -> None:
    found = layers.latency_by_type(trace)
    assert found.select("type", "count", "self_ns").rows() == [
        ("Conv2d", 1, 66_000),
        ("Block", 1, 12_000),
        ("Linear", 1, 11_000),
        ("ReLU", 2, 10_000),
        (layers.OUTSIDE, None, 11_000),
    ]
    assert found["share"].sum() == pytest.approx(100)


def test_resnet50(tmp_path: Path) -> None:
    trace = read_trace(resnet50(tmp_path))
    counts = dict(layers.layer_types(trace).select("type", "count").iter_rows())
    assert counts == {
        "Conv2d": 53, "BatchNorm2d": 53, "ReLU": 49, "Bottleneck": 16, "Sequential": 8,
        "MaxPool2d": 1, "AdaptiveAvgPool2d": 1, "Linear": 1,
    }  # fmt: skip
    table = layers.layer_information(trace)
    assert table["name"].to_list()[:4] == ["conv1", "bn1", "relu", "maxpool"]
    assert table["name"].to_list()[-2:] == ["avgpool", "fc"]
    assert table.filter("leaf")["parameters"].sum() == 25_557_032
    by_type = layers.latency_by_type(trace)
    assert by_type["type"][0] == "Conv2d"
    assert by_type["share"][0] > 80
    assert 98 < by_type["share"].sum() < 102


def some_predictions(root: Path, ran: Sequence[frozenset[str]], us: Mapping[str, float], outlier: float = 0) -> Run:
    """Predictions of batch size 1 that run these layers, one after another, each for so long; types are first letters.

    The first prediction is ``outlier`` µs longer, outside of layers.
    """
    made = Spans()
    for number, names in enumerate(ran):
        more = 0 if number else outlier
        start = 10_000 * number
        prediction = made.add(None, "predict", "model", start, sum(us[name] for name in names) + 1 + more)
        at = float(start)
        for name in sorted(names):
            facts = layer(name[0], flops=round(500 * us[name]), input_bytes=0, output_bytes=0, parameter_bytes=0)
            made.add(prediction, name, "layer", at, us[name], facts)
            at += us[name]
    return traced_run(root, made.table())


def test_a_layer_that_runs_in_some_predictions_counts_for_as_many(tmp_path: Path) -> None:
    ran = [frozenset({"always", "both", "sometimes"})] * 40 + [frozenset({"always", "both"})] * 60
    trace = read_trace(some_predictions(tmp_path, ran, {"always": 5, "both": 20, "sometimes": 10}, outlier=5000))
    found = layers.layer_information(trace)
    assert dict(found.select("name", "self_ns").iter_rows()) == {"always": 5000, "both": 20_000, "sometimes": 10_000}
    by_type = layers.latency_by_type(trace)
    assert by_type.select("type", "self_ns").rows() == [
        ("b", 20_000), ("a", 5000), ("s", pytest.approx(4000)), (layers.OUTSIDE, 1000)
    ]  # fmt: skip
    assert by_type["share"].to_list() == pytest.approx([100 * part / 30 for part in (20, 5, 4, 1)])
    assert found["share"].to_list() == pytest.approx([100 * part / 30 for part in (5, 20, 4)])
    roof = Roof(1e9, ((1, 1e12),))
    bounds = bounds_by_type(trace, roof)
    assert bounds["gap"].drop_nulls().to_list() == pytest.approx([2, 2, 2]), "as of each layer by itself"
    assert layer_bounds(trace, roof)["gap"].to_list() == pytest.approx([2, 2, 2])
    assert model_bound_ns(trace, roof) == pytest.approx(12_500), "of the median prediction"


def test_a_type_of_layers_that_run_now_and_then(tmp_path: Path) -> None:
    ran = [frozenset({"a1", "a2"})] * 4 + [frozenset({"a1"})] * 5 + [frozenset({"b"})]
    trace = read_trace(some_predictions(tmp_path, ran, {"a1": 10, "a2": 30, "b": 10}))
    by_type = dict(layers.latency_by_type(trace).select("type", "self_ns").iter_rows())
    assert by_type == {"a": pytest.approx(40_000 * 0.4 + 10_000 * 0.5), "b": pytest.approx(1000), layers.OUTSIDE: 1000}
    assert bounds_by_type(trace, Roof(1e9, ((1, 1e12),)))["gap"].drop_nulls().to_list() == pytest.approx([2, 2])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.frozensets(st.sampled_from(["a1", "a2", "b", "c"]), min_size=1), min_size=1, max_size=9),
    st.lists(st.integers(1, 50), min_size=4, max_size=4),
    st.integers(0, 5000),
)
def test_shares_never_make_more_than_the_whole(
    tmp_path_factory: pytest.TempPathFactory, ran: list[frozenset[str]], us: list[int], outlier: int
) -> None:
    times = dict(zip(("a1", "a2", "b", "c"), us, strict=True))
    trace = read_trace(some_predictions(tmp_path_factory.mktemp("runs"), ran, times, outlier))
    for frame in (layers.layer_information(trace), layers.latency_by_type(trace), layers.time_by_type(trace)):
        assert frame["share"].sum() <= 100 + 1e-6
        assert (frame["share"] >= 0).all()
