"""``resize``: an image to another size, as torchvision does it on Pillow images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.processors.geometry import SIZE, as_image
from mlms.errors import DataError
from mlms.hooks import Component, Context, Processor


@dataclass(frozen=True, slots=True)
class Resize:
    """Resize uint8 (height, width, channels) with Pillow's antialiased filters.

    An integer ``size`` is the length of the shorter edge; the longer one keeps the aspect ratio, rounded down. A pair
    is (height, width).

    Raises:
        DataError: the value is not such an image, or not uint8 with 1 or 3 channels.
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"

    def __call__(self, value: Any) -> npt.NDArray[np.uint8]:
        from PIL import Image

        image = as_image(value, "resize")
        if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
            raise DataError(
                f"resize takes uint8 images with 1 or 3 channels, not {image.dtype} with {image.shape[2]}",
                hint="put resize right after decode_image, before rescale and to_chw",
            )
        height, width = self.output_size(image.shape[0], image.shape[1])
        if (height, width) == image.shape[:2]:
            return image
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        resized = picture.resize((width, height), Image.Resampling[self.interpolation.upper()])
        return np.array(resized, dtype=np.uint8).reshape(height, width, image.shape[2])

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the result for an image of that height and width."""
        if not isinstance(self.size, int):
            return self.size
        longer = int(self.size * max(height, width) / min(height, width))
        return (longer, self.size) if width <= height else (self.size, longer)


def make(options: Mapping[str, Any], context: Context) -> Processor:
    size = options["size"]
    return Resize(size if isinstance(size, int) else (size[0], size[1]), options.get("interpolation", "bilinear"))


COMPONENT: Component[Processor] = Component(
    name="resize",
    make=make,
    summary="an image to another size: the shorter edge, or [height, width]",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["size"],
        "properties": {
            "size": {**SIZE, "description": "length of the shorter edge, or [height, width]"},
            "interpolation": {"enum": ["bilinear", "bicubic", "nearest"], "default": "bilinear"},
            "antialias": {
                "description": "Pillow always antialiases bilinear and bicubic; said here for the reader's sake",
                "const": True,
                "default": True,
            },
        },
    },
)
