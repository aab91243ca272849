from __future__ import annotations

import shutil
import time
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlms.errors import ModelError, OutOfMemoryError
from mlms.hooks import CountsFlops, Predictor

torch = pytest.importorskip("torch")
from fakes.model_assets import torch_model  # noqa: E402 (after importorskip)
from mlms.builtins.pytorch.framework import PyTorch  # noqa: E402

X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def load(
    factory: str, arguments: dict[str, Any] | None = None, device: str = "cpu", *inputs: str, **options: Any
) -> Predictor:
    model = torch_model(factory, arguments, inputs=dict.fromkeys(inputs or ("image",), (None,)))
    return PyTorch().load(model, None, device, {"packages": ["fakes", "torchvision.models"], **options})


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ("tensor", ["output"]),
        ("tuple", ["output_0", "output_1"]),
        ("list", ["output_0", "output_1"]),
        ("dict", ["out", "aux"]),
        ("namedtuple", ["logits"]),
        ("dataclass", ["logits"]),
    ],
)
def test_outputs_go_by_name(shape: str, names: list[str]) -> None:
    outputs = load("Shaped", {"shape": shape}).predict({"image": X})
    assert list(outputs) == names
    for offset, name in enumerate(names):
        np.testing.assert_array_equal(outputs[name], X * 2 + offset)


def test_nested_outputs_become_arrays_too() -> None:
    first, (second,) = load("Shaped", {"shape": "nested"}).predict({"image": X})["boxes"]
    np.testing.assert_array_equal(first, X * 2)
    np.testing.assert_array_equal(second, X * 2)


def test_inputs_go_in_the_models_order() -> None:
    batch = {"subtrahend": X, "minuend": X * 3}
    outputs = load("Difference", None, "cpu", "minuend", "subtrahend").predict(batch)
    np.testing.assert_array_equal(outputs["output"], X * 2)


@given(
    order=st.permutations([0, 1]),
    step=st.sampled_from([1, -1]),
    readonly=st.booleans(),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
@settings(deadline=None, max_examples=20)
def test_any_layout_of_the_input_is_taken_without_a_warning(
    order: list[int], step: int, readonly: bool, dtype: str
) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3).transpose(order)[::step]
    array.setflags(write=not readonly)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = SHAPED.predict({"image": array})["output"]
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, array * 2)


SHAPED = load("Shaped")


def test_integers_stay_integers() -> None:
    outputs = load("Difference", None, "cpu", "a", "b", dtype="float16").predict({"a": np.arange(3), "b": np.arange(3)})
    assert outputs["output"].dtype == np.int64


@pytest.mark.parametrize("wanted", [True, False])
def test_channels_last(wanted: bool) -> None:
    predictor = load("Layout", channels_last=wanted)
    assert predictor.predict({"image": np.zeros((2, 3, 4, 5), np.float32)})["output"] == [wanted]
    assert predictor.describe()["channels_last"] is wanted


def test_a_forward_that_raises() -> None:
    with pytest.raises(ModelError) as caught:
        load("Broken").predict({"image": X})
    assert caught.value.message == "model 'net' raised ValueError while predicting a batch of 2: the sky fell"
    assert isinstance(caught.value.__cause__, ValueError)
    assert not isinstance(caught.value, OutOfMemoryError)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_out_of_memory_names_the_batch(batch_size: int) -> None:
    with pytest.raises(OutOfMemoryError, match=f"ran out of memory while predicting a batch of {batch_size}") as caught:
        load("Huge").predict({"image": X[:batch_size]})
    assert ("smaller batch_size" in str(caught.value.hint)) is (batch_size > 1)


def test_no_gradients_and_no_dropout() -> None:
    predictor = load("torchvision.models:alexnet", {"num_classes": 3})
    image = {"image": np.random.default_rng(0).random((1, 3, 63, 63), np.float32)}
    np.testing.assert_array_equal(predictor.predict(image)["output"], predictor.predict(image)["output"])


def test_a_closed_predictor_answers_no_more() -> None:
    predictor = load("Shaped")
    predictor.close()
    predictor.close()
    with pytest.raises(ModelError, match="'net'"):
        predictor.predict({"image": X})


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_models_give_the_same() -> None:
    predictor = load("linear", compile={"mode": "default", "dynamic": False})
    batch = {"image": np.ones((2, 4), np.float32)}
    assert predictor.describe()["compiled"] is True
    np.testing.assert_allclose(predictor.predict(batch)["output"], load("linear").predict(batch)["output"], atol=1e-6)


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("options", [{}, {"channels_last": True}, {"deterministic": True}, {"compile": True}])
def test_a_gpu_agrees_with_the_cpu(options: dict[str, Any]) -> None:
    image = {"image": np.random.default_rng(0).random((4, 3, 64, 64), np.float32)}
    expected = load("torchvision.models:resnet18").predict(image)["output"]
    predictor = load("torchvision.models:resnet18", None, "cuda", **options)
    assert predictor.describe()["device"] == "cuda:0"
    found = predictor.predict(image)["output"]
    predictor.close()
    # TF32 in the convolutions keeps 10 bits of the mantissa.
    np.testing.assert_allclose(found, expected, atol=2e-2 * np.abs(expected).max())


@pytest.mark.gpu
@GPU
def test_predict_waits_for_the_gpu() -> None:
    predictor = load("Slow", None, "cuda")
    batch = {"image": np.ones((4096, 4096), np.float32)}
    predictor.predict(batch)
    predictor.predict(batch)
    start = time.perf_counter()
    predictor.predict(batch)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    torch.cuda.synchronize()
    assert time.perf_counter() - start < whole / 10


@pytest.mark.gpu
@GPU
def test_a_gpu_out_of_memory_can_go_on() -> None:
    with pytest.raises(OutOfMemoryError, match="a batch of 2"):
        load("Huge", None, "cuda").predict({"image": X})
    np.testing.assert_array_equal(load("Shaped", None, "cuda").predict({"image": X})["output"], X * 2)


@pytest.mark.parametrize("options", [{}, {"compile": {"backend": "eager"}}], ids=["eager", "compiled"])
def test_a_model_that_works_in_place_leaves_the_batch_alone(options: dict[str, Any]) -> None:
    predictor = load("InPlace", **options)
    batch = {"image": X.copy()}
    for _ in range(3):
        np.testing.assert_array_equal(predictor.predict(batch)["output"], X - 1)
        np.testing.assert_array_equal(batch["image"], X)
    assert isinstance(predictor, CountsFlops)
    predictor.flops(batch)
    np.testing.assert_array_equal(batch["image"], X)
