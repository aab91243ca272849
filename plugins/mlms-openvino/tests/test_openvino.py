"""Models in OpenVINO: figures beside PyTorch's, counters, and files that can't be run."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mlms.builtins.pytorch.models import digits_cnn

serving = pytest.importorskip("mlms_openvino.serving")
ov = pytest.importorskip("openvino")

ROOT = Path(__file__).parents[3]
FILE = ROOT / "plugins/mlms-openvino/mlms_openvino/assets/models/digits/digits-cnn.xml"
BIN = FILE.with_suffix(".bin")
ONNX = ROOT / "plugins/mlms-onnxruntime/mlms_onnxruntime/assets/models/digits/digits-cnn.onnx"
INPUTS = [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}]


def load(path: Path = FILE, inputs: Any = INPUTS, files: Any = (), **options: Any) -> Any:
    model = {"name": "digits", "inputs": inputs, "factory": None, "arguments": {}, "seed": None, "files": dict(files)}
    return serving.load(model, str(path), "cpu", {"dtype": "float32", "threads": None, "packages": (), **options})


def images(count: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(count).random((count, 1, 8, 8), dtype=np.float32)}


@pytest.mark.parametrize("path", [FILE, ONNX], ids=["ir", "onnx"])
@pytest.mark.parametrize("count", [1, 2, 33])
def test_logits_are_those_of_pytorch(path: Path, count: int) -> None:
    network = digits_cnn().eval()
    network.load_state_dict(load_file(ROOT / "assets/models/digits/digits-cnn.safetensors"))
    batch = images(count)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch["image"])).numpy()
    logits = load(path).predict(batch)["logits"]
    assert type(logits) is np.ndarray
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def test_outputs_outlive_the_next_prediction() -> None:
    model = load()
    first = model.predict(images(2))["logits"]
    kept = first.copy()
    model.predict(images(3))
    np.testing.assert_array_equal(first, kept)


def test_facts() -> None:
    model, count = load(threads=1), sum(parameter.numel() for parameter in digits_cnn().parameters())
    facts = model.describe()
    assert (facts["parameters"], facts["device"], facts["dtype"], facts["threads"]) == (count, "cpu", "float32", 1)
    convolutions = 64 * 16 * 9 + 64 * 32 * 16 * 9
    assert model.flops(images(3)) == 3 * 2 * (convolutions + 512 * 64 + 64 * 10)


@pytest.mark.parametrize("options", [{}, {"performance_hint": "THROUGHPUT"}, {"num_streams": 2}])
def test_threads_share_a_model(options: dict[str, Any]) -> None:
    model, batches = load(**options), [images(count) for count in range(1, 9)]
    expected = [model.predict(batch)["logits"] for batch in batches]
    wrong: list[int] = []

    def predict(index: int) -> None:
        for _ in range(50):
            if not np.allclose(model.predict(batches[index])["logits"], expected[index], atol=1e-5):
                wrong.append(index)

    threads = [threading.Thread(target=predict, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"image": np.zeros((2, 1, 9, 8), np.float32)}, r"takes the shape \[\?,1,8,8\], but was given \[2, 1, 9, 8\]"),
        ({"image": np.zeros((2, 8, 8), np.float32)}, r"takes the shape \[\?,1,8,8\], but was given \[2, 8, 8\]"),
        ({"image": np.zeros((0, 1, 8, 8), np.float32)}, "can't predict an empty batch"),
        ({"picture": np.zeros((1, 1, 8, 8), np.float32)}, "the batch has no input 'image'; it has picture"),
    ],
)
def test_a_batch_that_does_not_fit(batch: Any, message: str) -> None:
    model = load()
    with pytest.raises(ValueError, match=message):
        model.predict(batch)
    assert model.predict(images(1))["logits"].shape == (1, 10)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.xml", "<net", "broken.xml"),
        (
            "later.xml",
            FILE.read_text().replace('type="ReLU" version="opset1"', 'type="ReLU" version="opset99"'),
            "opset99",
        ),
        ("broken.onnx", "hello world" * 10, "broken.onnx"),
        ("broken.tflite", "hello world" * 10, "broken.tflite"),
    ],
)
def test_a_file_that_can_not_be_read(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(path, files={"bin": str(BIN)})
    said, _hint = caught.value.args
    assert f"can't read {path}" in said
    assert "Exception from" not in said


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_bytes(FILE.read_bytes())
    with pytest.raises(ValueError, match=r"can't read .*model\.xml with .*model\.bin: .*cannot be found"):
        load(path)
    short = tmp_path / "short"
    short.write_bytes(BIN.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"with .*short: .*[Ii]ncorrect weights"):
        load(path, files={"bin": str(short)})
    assert load(path, files={"bin": str(BIN)}).predict(images(1))["logits"].shape == (1, 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float64"}, "doesn't compute in float64"),
        ({"inputs": [{**INPUTS[0], "name": "picture"}]}, "has the inputs image, but the model asset picture"),
        ({"inputs": [{**INPUTS[0], "shape": [3, 8, 8]}]}, r"float32 of shape \[3, 8, 8\] a sample in the model asset"),
        ({"inputs": [{**INPUTS[0], "dtype": "float64"}]}, "but float64 of shape"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**options)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_precision_is_computed_in_or_refused(dtype: str) -> None:
    precision = serving.PRECISIONS[dtype]
    if precision.upper() in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert load(dtype=dtype).describe()["dtype"] == dtype
    else:
        with pytest.raises(ValueError, match=f"computes in f32 here, not in {precision}"):
            load(dtype=dtype)


def test_counters_are_on_only_while_observed() -> None:
    model = load()
    assert str(model._compiled.get_property("PERF_COUNT")) in ("NO", "False")
    with model.observe("layer", images(1)) as watched:
        assert str(watched._compiled.get_property("PERF_COUNT")) in ("YES", "True")
    assert str(model._compiled.get_property("PERF_COUNT")) in ("NO", "False")


def test_spans_lie_within_their_predictions() -> None:
    times, taken = [], []
    with load().observe("layer", images(64)) as watched:
        for count in (64, 64, 32, 64):
            start = perf_counter_ns()
            watched.predict(images(count))
            times.append((start, perf_counter_ns()))
            taken += watched.take()
    taken += watched.take()
    assert len(taken) == 4
    for (start, end), spans in zip(times, taken, strict=True):
        assert {"Convolution", "MaxPool", "FullyConnected"} <= {span[4]["mlms.layer.type"] for span in spans}
        assert all(start <= span[2] <= span[3] <= end for span in spans)
        assert all(one[3] == other[2] for one, other in pairwise(spans))
    shapes = [[span[4]["mlms.layer.output_shapes"] for span in spans if span[0] == "4"] for spans in taken]
    assert shapes == [[["64x32x4x4"]], [["64x32x4x4"]], [["32x32x4x4"]], [["64x32x4x4"]]]


def test_names_of_devices() -> None:
    assert "cpu" in serving.devices()
    assert [serving._ours(name) for name in ("CPU", "GPU", "GPU.1", "NPU")] == ["cpu", "gpu:0", "gpu:1", "npu"]
    assert [serving._theirs(name) for name in ("cpu", "gpu:1", "npu")] == ["CPU", "GPU.1", "NPU"]


def test_close_twice() -> None:
    model = load()
    model.close()
    model.close()
    assert model.describe()["device"] == "cpu"


def test_no_prediction_has_to_do_with_the_one_before(tmp_path: Path) -> None:
    """A model that adds up all that it was ever given, were its state kept."""
    opset = ov.opset13
    given = opset.parameter([-1, 2], ov.Type.f32, name="x")
    given.output(0).set_names({"x"})
    state = opset.read_value(opset.constant(np.zeros((1, 2), np.float32)), "sum")
    total = opset.add(given, state)
    keep = opset.assign(total, "sum")
    ov.save_model(ov.Model([opset.result(total)], [keep], [given], "sum"), tmp_path / "sum.xml")
    model = load(tmp_path / "sum.xml", [{"name": "x", "dtype": "float32", "shape": [2]}])
    batch = {"x": np.ones((1, 2), np.float32)}
    for _ in range(3):
        (found,) = model.predict(batch).values()
        np.testing.assert_array_equal(found, batch["x"])
    with model.observe("layer", batch) as watched:
        for _ in range(2):
            (found,) = watched.predict(batch).values()
            np.testing.assert_array_equal(found, batch["x"])
    model.close()
