"""TensorRT's refusals where there is no GPU, and what it takes a GPU to see."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlms_tensorrt import serving
from mlms_tensorrt.plugin import OPTIONS

from mlms.errors import InputError
from mlms.serving.framework import ServedFramework
from mlms.testing import FrameworkContract

FILE = Path(serving.__file__).parent / "assets/models/digits/digits-cnn.onnx"
INPUTS = [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}]
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def load(path: Path = FILE, device: str = "cuda:0", **options: Any) -> Any:
    model = {"name": "digits", "inputs": INPUTS, "factory": None, "arguments": {}, "seed": None, "files": {}}
    return serving.load(model, str(path), device, {"dtype": "float32", "threads": None, "packages": (), **options})


@without_gpu
def test_no_gpu_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match=r"cuda-python|NVIDIA driver|NVIDIA GPU") as refused:
        serving.devices()
    assert refused.value.args[1]


@without_gpu
def test_a_machine_without_a_driver() -> None:
    pytest.importorskip("cuda.bindings")
    with pytest.raises(ValueError, match="NVIDIA driver") as refused:
        serving.devices()
    assert "mlms-onnxruntime" in refused.value.args[1]


@without_gpu
def test_mlms_refuses_the_model() -> None:
    class Asset:
        name, input, source = "digits", (), type("Source", (), {"arguments": {}, "factory": None})
        source.weights = type("Weights", (), {"seed": None})

    with pytest.raises(InputError, match="tensorrt") as refused:
        ServedFramework("tensorrt", "mlms_tensorrt.serving", ("layer",)).load(Asset, FILE, "auto", {})  # type: ignore
    assert refused.value.hint


def test_without_tensorrt_the_index_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(ValueError, match="can't be imported") as refused:
        serving.describe()
    assert "pypi.nvidia.com" in refused.value.args[1]


def test_types_that_tensorrt_has_not() -> None:
    with pytest.raises(ValueError, match="float64"):
        load(dtype="float64")


def test_options_are_documented() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in OPTIONS["properties"])


@pytest.mark.gpu
@needs_gpu
class TestContract(FrameworkContract):
    framework = "tensorrt"
    model = "digits-cnn-tensorrt"
    device = "cuda:0"


@pytest.mark.gpu
@needs_gpu
def test_layers_come_in_their_order() -> None:
    pytest.importorskip("tensorrt")
    model = load(max_batch=8)
    batch = {"image": np.zeros((2, 1, 8, 8), np.float32)}
    with model.observe("layer", batch) as watched:
        watched.predict(batch)
        (spans,) = watched.take()
    assert spans
    assert all(before[3] == after[2] for before, after in pairwise(spans))
    with pytest.raises(ValueError, match="batches of 1 to 8"):
        model.predict({"image": np.zeros((9, 1, 8, 8), np.float32)})
    model.close()
    model.close()
