"""Kernels of a synthetic trace, worked out by hand (see ``fakes.traced_runs.gpu_table``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.traced_runs import Spans, gpu_run, layer, resnet50, traced_run
from mlms.analysis.across_stack import kernels
from mlms.analysis.across_stack.layers import OUTSIDE
from mlms.analysis.across_stack.trace import Trace, read_trace
from mlms.errors import InputError


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return read_trace(gpu_run(tmp_path))


def test_the_kernels_of_one_prediction(trace: Trace) -> None:
    found = kernels.kernel_information(trace)
    assert found.select("index", "name", "layer_name", "start_ns", "latency_ns", "flops", "occupancy").rows() == [
        (0, "gemm", "conv", 50_000, 200_000, 4e6, 0.5),
        (1, "add", "conv", 200_000, 100_000, 1e6, 0.25),
        (2, "gemm", "head", 400_000, 100_000, 2e6, 0.5),
        (3, "fill", None, 600_000, 10_000, 0.0, 0.25),
    ]


def test_kernels_by_name(trace: Trace) -> None:
    found = kernels.kernels_by_name(trace)
    columns = ("name", "device", "kernels", "latency_ns", "flops", "dram_read_bytes", "dram_write_bytes", "occupancy")
    assert found.select(columns).rows() == [
        ("gemm", "gpu", 2, 300_000, 6e6, 1.5e6, 1.5e6, 0.5),
        ("add", "gpu", 1, 100_000, 1e6, 2e6, 2e6, 0.25),
        ("fill", "gpu", 1, 10_000, 0, 0, 1e6, 0.25),
    ]
    assert found["share"].sum() == pytest.approx(100)


def test_kernels_and_their_metrics_by_layer(trace: Trace) -> None:
    found = kernels.kernels_by_layer(trace)
    assert found.select("name", "type", "kernels", "latency_ns", "flops").rows() == [
        ("conv", "Conv2d", 2, 300_000, 5e6),
        ("head", "Linear", 1, 100_000, 2e6),
        (OUTSIDE, None, 1, 10_000, 0),
    ]
    metrics = kernels.metrics_by_layer(trace)
    assert metrics["occupancy"].to_list() == pytest.approx([(0.5 * 200 + 0.25 * 100) / 300, 0.5, 0.25])
    assert metrics["intensity"].to_list() == pytest.approx([5 / 6, 2.0, 0.0])


def test_gpu_against_non_gpu_time(trace: Trace) -> None:
    found = kernels.gpu_by_layer(trace)
    assert found.select("name", "self_ns", "gpu_ns", "non_gpu_ns").rows() == [
        ("conv", 100_000, 250_000, 50_000),
        ("head", 100_000, 100_000, 0),
    ]
    assert found["gpu_share"].to_list() == pytest.approx([100 * 250 / 300, 100])


def test_all_kernels_beside_the_model(trace: Trace) -> None:
    (row,) = kernels.kernels_by_model(trace).iter_rows(named=True)
    assert (row["device"], row["kernels"], row["latency_ns"], row["prediction_ns"]) == ("gpu", 4, 410_000, 1_000_000)
    assert row["share"] == pytest.approx(41)


def test_kernels_of_some_predictions_count_for_as_many(tmp_path: Path) -> None:
    made = Spans()
    gpu = {"mlms.gpu.activity": "kernel", "mlms.gpu.flops": 100, "mlms.gpu.occupancy": 0.5}
    for number in range(10):
        prediction = made.add(None, "predict", "model", 1000 * number, 900)
        fc = made.add(prediction, "fc", "layer", 1000 * number, 100, layer("Linear"))
        made.add(fc, "gemm", "library", 1000 * number, 1, gpu)
        if number == 3:
            made.add(fc, "memset", "library", 1000 * number + 10, 50, gpu)
            rare = made.add(prediction, "rare", "layer", 1000 * number + 200, 100, layer("Linear"))
            made.add(rare, "gemm", "library", 1000 * number + 200, 1, gpu)
    trace = read_trace(traced_run(tmp_path, made.table(), level="library"))
    by_name = {row["name"]: row for row in kernels.kernels_by_name(trace).iter_rows(named=True)}
    memset = by_name["memset"]
    assert (memset["kernels"], memset["latency_ns"], memset["flops"], memset["occupancy"]) == pytest.approx(
        (0.1, 5_000, 10, 0.5)
    )
    assert (by_name["gemm"]["kernels"], by_name["gemm"]["latency_ns"]) == (1, 1_000)
    assert memset["share"] == pytest.approx(100 * 5 / 6)
    by_layer = kernels.kernels_by_layer(trace).filter(name="rare").row(0, named=True)
    assert (by_layer["kernels"], by_layer["latency_ns"]) == (1, 1_000), "in a prediction that runs the layer"


def test_counters_that_nobody_counted_are_unknown_and_not_zero(tmp_path: Path) -> None:
    trace = read_trace(gpu_run(tmp_path, counters=False))
    found = kernels.kernels_by_name(trace)
    assert found["latency_ns"].to_list() == [300_000, 100_000, 10_000]
    for counter in (*kernels.COUNTERS, "occupancy"):
        assert found[counter].null_count() == 3
    assert kernels.metrics_by_layer(trace)["intensity"].null_count() == 3


@pytest.mark.parametrize(
    "analysis",
    [
        kernels.kernel_information,
        kernels.kernels_by_name,
        kernels.kernels_by_layer,
        kernels.metrics_by_layer,
        kernels.gpu_by_layer,
        kernels.kernels_by_model,
    ],
)
def test_a_trace_without_kernels_says_which_level_has_them(tmp_path: Path, analysis: object) -> None:
    with pytest.raises(InputError, match="needs 'library'"):
        analysis(read_trace(resnet50(tmp_path)))  # type: ignore[operator]
