from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlms.hooks import CountsFlops, TracksDeviceMemory

torch = pytest.importorskip("torch")
from fakes.model_assets import torch_model  # noqa: E402 (after importorskip)
from mlms.builtins.pytorch.framework import PyTorch  # noqa: E402
from mlms.builtins.pytorch.predictor import PyTorchPredictor  # noqa: E402

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def load(device: str = "cpu", **options: Any) -> PyTorchPredictor:
    model = torch_model("torchvision.models:alexnet", inputs={"image": (3, 224, 224)})
    return PyTorch().load(model, None, device, {"packages": ["torchvision.models"], **options})


def images(count: int) -> dict[str, Any]:
    return {"image": np.zeros((count, 3, 224, 224), dtype=np.float32)}


@pytest.mark.parametrize("options", [{}, {"compile": {"backend": "eager"}}], ids=["eager", "compiled"])
def test_operations_are_those_that_torchvision_publishes(options: dict[str, Any]) -> None:
    predictor = load(**options)
    assert isinstance(predictor, CountsFlops)
    one, three = predictor.flops(images(1)), predictor.flops(images(3))
    assert one / 2 / 1e9 == pytest.approx(0.714, abs=0.001)  # torchvision's "GFLOPS" are multiply-adds
    assert three == 3 * one


def test_the_cpu_has_no_device_memory() -> None:
    predictor = load()
    assert isinstance(predictor, TracksDeviceMemory)
    assert predictor.device_peak_bytes() is None
    assert "device_uuid" not in predictor.describe()


@GPU
@pytest.mark.gpu
def test_a_gpu_s_memory_holds_the_model_and_its_batch() -> None:
    predictor = load("cuda")
    predictor.predict(images(1))
    small = predictor.device_peak_bytes()
    predictor.predict(images(64))
    large = predictor.device_peak_bytes()
    assert small is not None
    assert large is not None
    assert predictor.describe()["size_bytes"] < small < large
    assert predictor.describe()["device_uuid"].startswith("GPU-")
