"""``rescale``, ``normalize``, ``to_chw``, ``reshape`` and ``cast``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from fakes.contexts import accepts, context, make
from mlms.builtins.processors import COMPONENTS, layout, normalize, rescale
from mlms.errors import DataError, InputError
from mlms.hooks import Processor

BYTES = np.arange(256, dtype=np.uint8)


def processor(name: str, **options: object) -> Processor:
    made: Processor = make(COMPONENTS, name, options, context())
    return made


def test_rescale_divides_as_torchvision_does() -> None:
    scaled = processor("rescale", factor="1/255")(BYTES)
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, torch.from_numpy(BYTES).to(torch.get_default_dtype()).div(255).numpy())


@pytest.mark.parametrize(("factor", "expected"), [(2, 6.0), (0.5, 1.5), ("3/2", 4.5), ("1.5/0.5", 9.0), (-1, -3.0)])
def test_rescale_by_any_number(factor: object, expected: float) -> None:
    assert processor("rescale", factor=factor)([3]).tolist() == [expected]


@pytest.mark.parametrize("factor", ["1/x", "255", "", "1/2/3", "1/-2", "__import__('os')/1", None, [1]])
def test_factors_that_are_refused(factor: object) -> None:
    assert not accepts(rescale.COMPONENT, {"factor": factor})


def test_rescale_by_zero() -> None:
    with pytest.raises(InputError, match="divides by zero"):
        processor("rescale", factor="1/0")


def test_rescale_leaves_its_input() -> None:
    value = np.ones(3, dtype=np.float32)
    processor("rescale", factor=2)(value)
    assert value.tolist() == [1, 1, 1]


def test_normalize_equals_torchvision() -> None:
    image = np.random.default_rng(0).random((5, 6, 3), dtype=np.float32)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    found = processor("normalize", mean=mean, std=std)(image)
    expected = functional.normalize(torch.from_numpy(image).permute(2, 0, 1), mean, std).permute(1, 2, 0).numpy()
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_normalize_before_rescale_or_after_to_chw() -> None:
    step = processor("normalize", mean=[0, 0, 0], std=[1, 1, 1])
    with pytest.raises(DataError, match="not uint8") as caught:
        step(np.zeros((2, 2, 3), np.uint8))
    assert caught.value.hint == "put rescale: {factor: 1/255} before it"
    with pytest.raises(DataError, match=r"3 channels, but the value has shape \(3, 2, 2\)"):
        step(np.zeros((3, 2, 2), np.float32))


def test_normalize_options() -> None:
    assert not accepts(normalize.COMPONENT, {"mean": [0], "std": [0]})
    assert not accepts(normalize.COMPONENT, {"mean": [], "std": []})
    with pytest.raises(InputError, match="mean has 1 entries and std 2"):
        processor("normalize", mean=[0], std=[1, 1])


def test_to_chw() -> None:
    image = np.arange(24).reshape(2, 4, 3)
    found = processor("to_chw")(image)
    assert found.flags.c_contiguous
    assert np.array_equal(found[1], image[:, :, 1])
    assert found.shape == (3, 2, 4)
    with pytest.raises(DataError, match="to_chw"):
        processor("to_chw")(np.zeros((2, 2)))


def test_reshape() -> None:
    image = np.arange(64).reshape(8, 8)
    assert processor("reshape", shape=[1, 8, 8])(image).shape == (1, 8, 8)
    assert processor("reshape", shape=[2, -1])(image).shape == (2, 32)
    with pytest.raises(DataError, match=r"\(8, 8\) does not fit into \[1, 9, 9\]"):
        processor("reshape", shape=[1, 9, 9])(image)


@pytest.mark.parametrize("shape", [[0], [-2], [-1, -1], "8", [1.5]])
def test_shapes_that_are_refused(shape: object) -> None:
    assert not accepts(layout.RESHAPE, {"shape": shape})


def test_cast() -> None:
    assert processor("cast", dtype="int64")([1.0, 2.0]).dtype == np.int64
    assert not accepts(layout.CAST, {"dtype": "object"})
    with pytest.raises(DataError, match="str is not numeric"):
        processor("cast", dtype="float32")("1")
