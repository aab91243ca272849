"""What the analyses read from a span table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.records import record
from fakes.traced_runs import Spans, gpu_run, layer, resnet50, small_table, traced_run
from mlms.analysis.across_stack.ancestry import nearest_above, occurrences
from mlms.analysis.across_stack.trace import UNKNOWN, read_trace
from mlms.errors import InputError, StorageError
from mlms.tracing.structure import structure


def test_only_measured_predictions_of_the_usual_batch_size_count(tmp_path: Path) -> None:
    trace = read_trace(traced_run(tmp_path, small_table()))
    assert trace.predictions["latency_ns"].to_list() == [100_000, 110_000, 120_000]
    assert trace.predictions["batch_size"].unique().to_list() == [4]
    assert trace.latency_ns == 110_000
    assert trace.layers.height == 3 * 5


def test_self_time_is_without_the_layers_within(tmp_path: Path) -> None:
    trace = read_trace(traced_run(tmp_path, small_table()))
    first = trace.layers.filter(prediction=0).join(trace.calls, on="layer")
    found = {(name, call): own for name, call, own in first.select("name", "call", "self_ns").iter_rows()}
    assert found == {
        ("block", 0): 10_000,
        ("conv", 0): 60_000,
        ("relu", 0): 5_000,
        ("relu", 1): 5_000,
        ("head", 0): 10_000,
    }
    leaves = dict(trace.calls.select("name", "leaf").iter_rows())
    assert leaves == {"block": False, "conv": True, "relu": True, "head": True}


def test_a_real_table_adds_up(tmp_path: Path) -> None:
    """In each prediction the layers' own times are the time of the outermost layers, which the prediction exceeds."""
    trace = read_trace(resnet50(tmp_path))
    assert trace.predictions.height == 9
    assert trace.calls.height == 182, "two of the three calls of a Bottleneck's ReLU are calls of their own"
    outer = trace.layers.join(trace.calls.filter(pl.col("parent").is_null()), on="layer")
    whole = outer.group_by("prediction").agg(pl.col("total_ns").sum()).sort("prediction")
    own = trace.layers.group_by("prediction").agg(pl.col("self_ns").sum()).sort("prediction")
    assert own["self_ns"].to_list() == whole["total_ns"].to_list()
    assert (own["self_ns"] < trace.predictions["latency_ns"]).all()
    assert trace.calls.filter("leaf")["flops"].sum() == 8_178_368_512, "torch's count for ResNet-50, batch 1"


def test_kernels_know_their_layer_and_what_of_them_overlaps(tmp_path: Path) -> None:
    trace = read_trace(gpu_run(tmp_path))
    names = dict(trace.calls.select("layer", "name").iter_rows())
    first = trace.kernels.filter(prediction=0).sort("start_ns")
    found = [
        (names.get(row["layer"]), row["name"], row["busy_ns"], row["inside_ns"]) for row in first.iter_rows(named=True)
    ]
    assert found == [
        ("conv", "gemm", 200_000, 50_000),
        ("conv", "add", 50_000, 0),
        ("head", "gemm", 100_000, 100_000),
        (None, "fill", 10_000, 0),
    ]
    assert trace.on_gpu
    times = trace.layers.filter(prediction=0).select("layer", "time_ns").iter_rows()
    assert {names[number]: time for number, time in times} == {"conv": 250_000, "head": 100_000}


def test_library_primitives_on_the_cpu_are_kernels_too(tmp_path: Path) -> None:
    made = Spans()
    prediction = made.add(None, "predict", "model", 0, 100)
    conv = made.add(prediction, "conv", "layer", 0, 90)
    operator = made.add(conv, "aten::convolution", "operator", 1, 80)
    facts = {"mlms.library.primitive": "convolution", "mlms.library.implementation": "brg_conv_fwd:avx512_core"}
    made.add(operator, "onednn", "library", 2, 70, facts)
    trace = read_trace(traced_run(tmp_path, made.table(), level="library"))
    (kernel,) = trace.kernels.iter_rows(named=True)
    assert (kernel["name"], kernel["device"], kernel["layer"]) == (
        "convolution brg_conv_fwd:avx512_core",
        "cpu",
        trace.calls["layer"][0],
    )
    assert trace.calls["type"].to_list() == [UNKNOWN]
    assert not trace.on_gpu
    assert trace.layers["time_ns"].to_list() == [90_000]


def test_attributes_of_another_kind_are_unknown(tmp_path: Path) -> None:
    made = Spans()
    prediction = made.add(None, "predict", "model", 0, 100, {"mlms.batch_size": [1]})
    made.add(prediction, "x\x07y", "layer", 0, 90, layer("T", flops="many", output_bytes=1e3, input_shapes="1x2"))
    trace = read_trace(traced_run(tmp_path, made.table()))
    (call,) = trace.calls.iter_rows(named=True)
    assert (call["flops"], call["output_bytes"], call["input_shapes"]) == (None, 1000, "1x2")
    assert trace.predictions["batch_size"].to_list() == [None]


def test_a_run_traced_less_deeply_says_which_level_is_needed(tmp_path: Path) -> None:
    made = Spans()
    made.add(None, "predict", "model", 0, 100)
    shallow = read_trace(traced_run(tmp_path, made.table(), level="model"))
    with pytest.raises(InputError, match="traced at level 'model'; this analysis needs 'layer'") as caught:
        shallow.need("layer")
    assert "--trace-level layer" in str(caught.value.hint)
    with pytest.raises(InputError, match="needs 'model'"):
        read_trace(traced_run(tmp_path, made.table(), level="none"))


def test_layers_that_compilation_took_are_named_as_such(tmp_path: Path) -> None:
    made = Spans()
    made.add(None, "predict", "model", 0, 100)
    model = {**record()["model"], "describe": {"compiled": True}}
    trace = read_trace(traced_run(tmp_path, made.table(), level="operator", model=model))
    with pytest.raises(InputError, match="no spans of level 'layer'") as caught:
        trace.need("layer")
    assert "torch.compile" in str(caught.value.hint)


def test_a_cut_off_table_is_refused(tmp_path: Path) -> None:
    run = resnet50(tmp_path)
    file = run.path / "spans.parquet"
    file.write_bytes(file.read_bytes()[:20_000])
    with pytest.raises(StorageError, match="cut off or damaged"):
        read_trace(run)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=40))
def test_the_nearest_ancestor_is_found_at_any_depth(shape: list[tuple[int, bool]]) -> None:
    made = Spans()
    numbers: list[str] = []
    for place, (above, _) in enumerate(shape):
        parent = numbers[above % place] if place and above else None
        numbers.append(made.add(parent, "x", "layer", place, 1))
    tree = structure(made.table())
    chosen = np.array([mark for _, mark in shape])
    expected = []
    for place in range(len(shape)):
        at = tree.parent[place]
        while at >= 0 and not chosen[at]:
            at = tree.parent[at]
        expected.append(at)
    assert nearest_above(tree, chosen).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_occurrences_count_the_same_keys_before(keys: list[tuple[int, int]]) -> None:
    arrays = [np.array([key[side] for key in keys], dtype=np.int64) for side in (0, 1)]
    expected = [keys[:place].count(key) for place, key in enumerate(keys)]
    assert occurrences(*arrays, np.arange(len(keys))).tolist() == expected


def test_what_was_told_of_a_layer_for_another_batch_size_is_unknown(tmp_path: Path) -> None:
    made = Spans()
    sizes = {"flops": 800, "input_bytes": 80, "input_shapes": ["8x10"], "parameter_bytes": 40, "batch_size": 8}
    for number, size in enumerate((1, 8, 1, 8, 8)):
        prediction = made.add(None, "predict", "model", 100 * number, 90, {"mlms.batch_size": size})
        made.add(prediction, "fc", "layer", 100 * number, 50, layer("Linear", **sizes))
    told = read_trace(traced_run(tmp_path, made.table()))
    assert told.calls.select("flops", "input_shapes", "parameter_bytes").rows() == [(800, "8x10", 40)]
    for number in (5, 6):
        prediction = made.add(None, "predict", "model", 100 * number, 90, {"mlms.batch_size": 1})
        made.add(prediction, "fc", "layer", 100 * number, 50, layer("Linear", **sizes))
    other = read_trace(traced_run(tmp_path, made.table()))
    assert other.predictions["batch_size"].to_list() == [1] * 4
    assert other.calls.select("flops", "input_bytes", "input_shapes", "parameter_bytes").rows() == [
        (None, None, None, 40)
    ]
