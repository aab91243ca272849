"""Layers by hand, and of a real ResNet-50."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.traced_runs import resnet50, small_table, traced_run
from mlms.analysis.across_stack import layers
from mlms.analysis.across_stack.trace import Trace, read_trace


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
