"""Whole chains of processors against the presets that torchvision's weights carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from fakes.contexts import context, make
from mlms.builtins.processors import COMPONENTS

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def preprocess(file: Path, crop: int, edge: int, interpolation: str) -> np.ndarray:
    steps: list[tuple[str, dict[str, Any]]] = [
        ("decode_image", {"mode": "RGB"}),
        ("resize", {"size": edge, "interpolation": interpolation}),
        ("center_crop", {"size": crop}),
        ("rescale", {"factor": "1/255"}),
        ("normalize", {"mean": MEAN, "std": STD}),
        ("to_chw", {}),
    ]
    value: Any = file
    for name, options in steps:
        value = make(COMPONENTS, name, options, context())(value)
    return np.asarray(value)


@pytest.mark.parametrize("size", [(333, 257), (97, 401), (224, 224), (31, 17), (500, 375)])
@pytest.mark.parametrize(
    ("crop", "edge", "interpolation"),
    [(224, 256, "bilinear"), (224, 232, "bilinear"), (384, 384, "bicubic"), (299, 342, "bilinear")],
)
def test_a_preset(tmp_path: Path, size: tuple[int, int], crop: int, edge: int, interpolation: str) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (*size, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    preset = ImageClassification(
        crop_size=crop,
        resize_size=edge,
        mean=tuple(MEAN),
        std=tuple(STD),
        interpolation=InterpolationMode(interpolation),
    )
    found = preprocess(path, crop, edge, interpolation)
    assert found.dtype == np.float32
    assert np.abs(found - preset(Image.open(path)).numpy()).max() <= 1e-6
