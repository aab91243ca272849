"""``resize`` and ``center_crop`` against torchvision on Pillow images, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from fakes.contexts import accepts, context, make
from mlms.builtins.processors import COMPONENTS, center_crop, resize
from mlms.errors import DataError
from mlms.hooks import Processor

MODES = {
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}
EDGE = st.integers(1, 60)
SIZE = st.one_of(EDGE, st.tuples(EDGE, EDGE).map(list))


def processor(name: str, **options: object) -> Processor:
    made: Processor = make(COMPONENTS, name, options, context())
    return made


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng((height, width)).integers(0, 256, (height, width, channels), dtype=np.uint8)


@given(EDGE, EDGE, SIZE, st.sampled_from(sorted(MODES)), st.sampled_from([1, 3]))
@settings(deadline=None)
def test_resize(height: int, width: int, size: int | list[int], interpolation: str, channels: int) -> None:
    image = picture(height, width, channels)
    source = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    expected = np.asarray(functional.resize(source, size, MODES[interpolation]))  # type: ignore[arg-type]
    resized = processor("resize", size=size, interpolation=interpolation, antialias=True)(image)
    assert resized.dtype == np.uint8
    assert np.array_equal(resized, expected.reshape(*expected.shape[:2], channels))


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1000))
def test_the_shorter_edge(height: int, width: int, size: int) -> None:
    found = resize.Resize(size).output_size(height, width)
    assert min(found) == size
    assert list(found) == functional._compute_resized_output_size((height, width), [size])


@given(EDGE, EDGE, SIZE)
@settings(deadline=None)
def test_center_crop(height: int, width: int, size: int | list[int]) -> None:
    image = picture(height, width)
    expected = np.asarray(functional.center_crop(Image.fromarray(image), size))  # type: ignore[arg-type]
    assert np.array_equal(processor("center_crop", size=size)(image), expected)


def test_center_crop_takes_floats() -> None:
    image = picture(5, 5).astype(np.float32)
    assert np.array_equal(processor("center_crop", size=3)(image), image[1:4, 1:4])


@pytest.mark.parametrize("name", ["resize", "center_crop"])
@pytest.mark.parametrize("value", [np.zeros((4, 4)), np.zeros((0, 4, 3), np.uint8), "a.png"])
def test_values_that_are_no_image(name: str, value: object) -> None:
    with pytest.raises(DataError, match=name):
        processor(name, size=2)(value)


@pytest.mark.parametrize("value", [np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8)])
def test_resize_after_other_steps(value: np.ndarray) -> None:
    with pytest.raises(DataError, match="takes uint8 images with 1 or 3 channels"):
        processor("resize", size=2)(value)


@pytest.mark.parametrize("size", [0, -1, 2.5, [1], [1, 2, 3], [0, 1], "256", None])
def test_sizes_that_are_refused(size: object) -> None:
    assert not accepts(resize.COMPONENT, {"size": size})
    assert not accepts(center_crop.COMPONENT, {"size": size})


def test_options_that_are_refused() -> None:
    assert not accepts(resize.COMPONENT, {})
    assert not accepts(resize.COMPONENT, {"size": 1, "antialias": False})
    assert not accepts(resize.COMPONENT, {"size": 1, "interpolation": "lanczos"})
    assert not accepts(center_crop.COMPONENT, {"size": 1, "fill": 0})
