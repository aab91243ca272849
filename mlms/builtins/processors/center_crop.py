"""``center_crop``: the middle of an image, as torchvision cuts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.processors.geometry import SIZE, as_image
from mlms.hooks import Component, Context, Processor


@dataclass(frozen=True, slots=True)
class CenterCrop:
    """Cut (height, width) out of the middle of (height, width, channels); a smaller image is padded with zeros first.

    An odd rest is split as torchvision splits it: padding puts the extra line at the end, cropping rounds the first
    line half to even.

    Raises:
        DataError: the value is not such an image.
    """

    height: int
    width: int

    def __call__(self, value: Any) -> npt.NDArray[Any]:
        image = as_image(value, "center_crop")
        missing = (max(self.height - image.shape[0], 0), max(self.width - image.shape[1], 0))
        if any(missing):
            image = np.pad(image, [*((gap // 2, gap - gap // 2) for gap in missing), (0, 0)])
        top = round((image.shape[0] - self.height) / 2)
        left = round((image.shape[1] - self.width) / 2)
        return image[top : top + self.height, left : left + self.width]


def make(options: Mapping[str, Any], context: Context) -> Processor:
    size = options["size"]
    return CenterCrop(size, size) if isinstance(size, int) else CenterCrop(*size)


COMPONENT: Component[Processor] = Component(
    name="center_crop",
    make=make,
    summary="the middle of an image; a smaller one is padded with zeros",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["size"],
        "properties": {"size": {**SIZE, "description": "edge of a square, or [height, width]"}},
    },
)
