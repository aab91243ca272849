"""Rooflines, bounds and the overview, against a machine of round figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.traced_runs import Spans, gpu_run, layer, resnet50, small_table, traced_run
from mlms.analysis.across_stack import bound, roofline
from mlms.analysis.across_stack.layers import OUTSIDE
from mlms.analysis.across_stack.overview import overview, overview_if_any
from mlms.analysis.across_stack.trace import Trace, read_trace
from mlms.hooks import Roof
from mlms.reports.where_time_goes import notes
from mlms.tracing.spans import SpanTable

ROOF = Roof(1e11, ((1 << 10, 4e9), (1 << 20, 1e9)))
"""100 FLOPs a ns; 4 bytes a ns up to 1 KiB, 1 byte a ns from 1 MiB on."""
RESNET_ROOF = Roof(195e9, ((1 << 18, 65e9), (1 << 20, 136e9), (1 << 22, 162e9), (1 << 24, 181e9), (1 << 28, 35.5e9)))
"""What was measured on the machine of the recorded trace."""


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return read_trace(traced_run(tmp_path, small_table()))


def test_bounds_of_layers(trace: Trace) -> None:
    found = {(row["name"], row["call"]): row for row in bound.layer_bounds(trace, ROOF).iter_rows(named=True)}
    conv, relu, head, block = (found[key] for key in (("conv", 0), ("relu", 1), ("head", 0), ("block", 0)))
    moved = 12_000 / ROOF.bandwidth_of(12_000) * 1e9
    weights = 40 / ROOF.bandwidth_of(4_040) * 1e9
    assert conv["compute_ns"] == pytest.approx(40_000)
    assert conv["memory_ns"] == pytest.approx(moved + weights)
    assert (conv["bound_ns"], conv["limited_by"]) == (pytest.approx(40_000), "compute")
    assert conv["gap"] == pytest.approx(66 / 40)
    assert conv["lost_ns"] == pytest.approx(26_000)
    assert relu["bound_ns"] == pytest.approx(16_000 / ROOF.bandwidth_of(16_000) * 1e9)
    assert relu["limited_by"] == head["limited_by"] == "memory"
    assert (block["bound_ns"], block["gap"], block["limited_by"]) == (None, None, None)


def test_what_hands_on_its_input_need_not_move_it(tmp_path: Path) -> None:
    made = Spans()
    prediction = made.add(None, "predict", "model", 0, 100)
    sizes = {"flops": 0, "input_bytes": 1000, "output_bytes": 1000, "parameter_bytes": 10**9}
    made.add(prediction, "flatten", "layer", 0, 10, layer("Flatten", **sizes))
    made.add(prediction, "embed", "layer", 20, 10, layer("Embedding", **sizes))
    found = bound.layer_bounds(read_trace(traced_run(tmp_path, made.table())), Roof(1e9, ((1, 1e9),)))
    assert found["bound_ns"].to_list() == [0, pytest.approx(3000)], "of an embedding's table only what it puts out"
    assert found["gap"].to_list() == [None, pytest.approx(10_000 / 3000)]


def test_bounds_by_type(trace: Trace) -> None:
    each = bound.layer_bounds(trace, ROOF)
    found = bound.bounds_by_type(trace, ROOF)
    assert found["type"].to_list() == ["Conv2d", "Block", "Linear", "ReLU", OUTSIDE]
    relu = found.row(3, named=True)
    assert relu["bound_ns"] == pytest.approx(each.filter(type="ReLU")["bound_ns"].sum())
    assert relu["gap"] == pytest.approx(relu["time_ns"] / relu["bound_ns"])
    assert bound.model_bound_ns(trace, ROOF) == pytest.approx(each["bound_ns"].sum())
    without = bound.bounds_by_type(trace, None)
    assert without["time_ns"].to_list() == found["time_ns"].to_list()
    assert without["bound_ns"].null_count() == without.height


def test_the_bandwidth_of_a_working_set() -> None:
    roof = Roof(1.0, ((1 << 10, 1.0), (1 << 12, 4.0), (1 << 20, 2.0)))
    assert roof.bandwidth_of(1) == 4.0, "a smaller working set is never slower"
    assert roof.bandwidth_of(1 << 12) == 4.0
    assert roof.bandwidth_of(1 << 16) == pytest.approx(3.0)
    assert roof.bandwidth_of(1 << 30) == roof.bandwidth == 2.0


def test_roofline_of_layers_and_model(trace: Trace) -> None:
    found = roofline.layer_roofline(trace, ROOF)
    conv = found.row(0, named=True)
    assert (conv["name"], conv["bytes"]) == ("conv", 12_040)
    assert conv["intensity"] == pytest.approx(4_000_000 / 12_040)
    assert conv["flops_per_s"] == pytest.approx(4_000_000 / 66e-6)
    assert (conv["memory_bound"], conv["attainable_flops_per_s"]) == (False, 1e11)
    assert conv["efficiency"] == pytest.approx(100 * 4_000_000 / 66e-6 / 1e11)
    head = found.row(3, named=True)
    assert head["memory_bound"]
    assert head["attainable_flops_per_s"] == pytest.approx(8_000 / 12_016 * 1e9)
    (model,) = roofline.model_roofline(trace, ROOF).iter_rows(named=True)
    assert (model["flops"], model["bytes"]) == (4_008_000, 12_040 + 2 * 16_000 + 12_016)
    assert model["flops_per_s"] == pytest.approx(4_008_000 / 110e-6)
    bare = roofline.layer_roofline(trace)
    assert bare["intensity"].to_list() == found["intensity"].to_list()
    assert bare["attainable_flops_per_s"].null_count() == bare["memory_bound"].null_count() == bare.height


def beside_table(inner_bytes: int | None = 100) -> SpanTable:
    """Two predictions of two samples: ``block`` (10,000 FLOPs) computes beside ``inner`` (2,000), ``plain`` doesn't."""
    made = Spans()
    for start in (0, 1000):
        prediction = made.add(None, "predict", "model", start, 100, {"mlms.batch_size": 2})
        outer = {"flops": 10_000, "input_bytes": 100, "output_bytes": 800, "parameter_bytes": 4_000}
        leaf = {"flops": 2_000, "input_bytes": 100, "parameter_bytes": 400}
        more = {} if inner_bytes is None else {"output_bytes": inner_bytes}
        block = made.add(prediction, "block", "layer", start, 50, layer("Block", **outer))
        made.add(block, "inner", "layer", start, 20, layer("Linear", **leaf, **more))
        plain = made.add(prediction, "plain", "layer", start + 50, 40, layer("Sequential", flops=2_000))
        made.add(plain, "last", "layer", start + 50, 30, layer("Linear", **leaf, output_bytes=100))
    return made.table()


def test_the_model_has_the_flops_of_layers_that_compute_beside_others(tmp_path: Path) -> None:
    trace = read_trace(traced_run(tmp_path, beside_table()))
    (found,) = roofline.model_roofline(trace, ROOF).iter_rows(named=True)
    assert (found["flops"], found["bytes"], found["intensity"], found["unknown"]) == (12_000, None, None, "block")
    assert found["flops_per_s"] == pytest.approx(12_000 / 100e-6)
    layers = roofline.layer_roofline(trace, ROOF)
    assert layers.select("name", "flops", "bytes").rows() == [("inner", 2_000, 600), ("last", 2_000, 600)]


def test_the_model_s_bytes_are_unknown_where_a_layer_s_are(tmp_path: Path) -> None:
    (found,) = roofline.model_roofline(read_trace(traced_run(tmp_path, beside_table(None)))).iter_rows(named=True)
    assert (found["flops"], found["bytes"], found["unknown"]) == (12_000, None, "block, inner")


def test_the_model_has_the_flops_that_no_layer_has(tmp_path: Path) -> None:
    run = traced_run(tmp_path, beside_table(), resources={"flops_per_sample": 7_000.0})
    (found,) = roofline.model_roofline(read_trace(run)).iter_rows(named=True)
    assert (found["flops"], found["unknown"]) == (14_000, f"block, {OUTSIDE}")


def test_on_a_gpu_the_model_has_the_traffic_of_kernels_outside_of_layers(tmp_path: Path) -> None:
    (found,) = roofline.model_roofline(read_trace(gpu_run(tmp_path)), ROOF).iter_rows(named=True)
    assert (found["flops"], found["bytes"], found["unknown"]) == (7e6, 6e6 + 1e6 + 1e6, None)
    made = Spans()
    prediction = made.add(None, "predict", "model", 0, 100, {"mlms.batch_size": 1})
    fc = made.add(prediction, "fc", "layer", 0, 50, layer("Linear", flops=1_000))
    traffic = {"mlms.gpu.dram_read_bytes": 10, "mlms.gpu.dram_write_bytes": 10, "mlms.gpu.flops": 400}
    made.add(fc, "gemm", "library", 0, 50, {"mlms.gpu.activity": "kernel", **traffic})
    run = traced_run(tmp_path, made.table(), level="library", resources={"flops_per_sample": 1_000.0})
    (found,) = roofline.model_roofline(read_trace(run)).iter_rows(named=True)
    assert (found["flops"], found["bytes"], found["unknown"]) == (400, 20, None), "as the GPU counts, not the framework"


def test_a_type_of_which_some_layers_have_a_bound_is_held_against_their_time(tmp_path: Path) -> None:
    made = Spans()
    prediction = made.add(None, "predict", "model", 0, 100)
    made.add(prediction, "known", "layer", 0, 20, layer("Linear", flops=1_000_000))
    made.add(prediction, "unknown", "layer", 20, 70, layer("Linear"))
    trace = read_trace(traced_run(tmp_path, made.table()))
    assert bound.layer_bounds(trace, ROOF)["gap"].to_list() == [pytest.approx(2), None]
    row = bound.bounds_by_type(trace, ROOF).row(0, named=True)
    assert (row["time_ns"], row["bound_ns"]) == (90_000, pytest.approx(10_000))
    assert (row["gap"], row["lost_ns"]) == (pytest.approx(2), pytest.approx(10_000))


def test_a_module_that_is_called_again_holds_its_parameters_once(tmp_path: Path) -> None:
    made = Spans()
    prediction = made.add(None, "predict", "model", 0, 100)
    sizes = {"flops": 0, "input_bytes": 0, "output_bytes": 0, "parameter_bytes": 1 << 10}
    for call in range(4):
        made.add(prediction, "cell", "layer", 20 * call, 10, layer("RNNCell", **sizes))
    made.add(prediction, "head", "layer", 80, 10, layer("Linear", **sizes))
    roof = Roof(1e11, ((1 << 10, 4e9), (2 << 10, 2e9), (8 << 10, 1e9)))
    found = bound.layer_bounds(read_trace(traced_run(tmp_path, made.table())), roof)
    first, again = 1024 / 2, 1024 / 4
    assert found["memory_ns"].to_list() == pytest.approx([first, again, again, again, first])


def test_roofline_of_kernels_and_of_layers_by_their_kernels(tmp_path: Path) -> None:
    trace = read_trace(gpu_run(tmp_path))
    gemm = roofline.kernel_roofline(trace, ROOF).row(0, named=True)
    assert (gemm["name"], gemm["bytes"], gemm["intensity"]) == ("gemm", 3e6, 2.0)
    assert gemm["flops_per_s"] == pytest.approx(6e6 / 300e-6)
    assert gemm["memory_bound"]
    layers = roofline.layer_roofline(trace, ROOF)
    assert layers.select("name", "flops", "bytes", "latency_ns").rows() == [
        ("conv", 5e6, 6e6, 250_000),
        ("head", 2e6, 1e6, 100_000),
    ]
    uncounted = roofline.layer_roofline(read_trace(gpu_run(tmp_path, counters=False)), ROOF)
    assert uncounted.select("flops", "bytes").rows() == [(3e6, 2e6), (3e6, 2e6)], "then by shapes"


def test_on_a_gpu_layers_are_held_against_the_time_of_their_kernels(tmp_path: Path) -> None:
    found = bound.layer_bounds(read_trace(gpu_run(tmp_path)), ROOF)
    assert found["time_ns"].to_list() == [250_000, 100_000]


def test_the_answer_for_resnet50(tmp_path: Path) -> None:
    """Convolutions take the time and are near their bound; the pooling is the furthest from it."""
    found = overview(read_trace(resnet50(tmp_path)), RESNET_ROOF)
    assert (found.predictions, found.batch_size, found.device_time) == (9, 1, "host")
    conv = found.types[0]
    assert (conv["type"], conv["count"], conv["limited_by"]) == ("Conv2d", 53, "compute")
    assert 1 < conv["gap"] < 1.5
    assert found.layers[0]["name"] == "maxpool"
    assert found.layers[0]["gap"] > 50
    assert 1.2 < found.data["gap"] < 1.7
    assert found.other == {"types": 0, "layers": 182 - 5}
    assert all(row["gap"] is None or row["gap"] > 1 for row in found.types), "nothing is faster than its bound"


def test_layers_told_of_for_another_batch_size_have_no_bounds_and_that_is_said(tmp_path: Path) -> None:
    made = Spans()
    prediction = made.add(None, "predict", "model", 0, 100, {"mlms.batch_size": 1})
    made.add(prediction, "fc", "layer", 0, 50, layer("Linear", flops=8_000, batch_size=8))
    found = overview(read_trace(traced_run(tmp_path, made.table())), ROOF)
    assert (found.bound_ns, found.types[0]["bound_ns"]) == (None, None)
    assert any(note.startswith("No bounds: ") for note in notes(found.data))


def test_a_report_of_a_run_without_layers_has_no_overview(tmp_path: Path) -> None:
    assert overview_if_any(traced_run(tmp_path, small_table(), level="model"), None) is None
    found = overview_if_any(traced_run(tmp_path, small_table()), None)
    assert found is not None
    assert found.bound_ns is None
    assert found.layers[0]["name"] == "conv"
