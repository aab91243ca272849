"""``normalize``: channels to zero mean and unit deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import DataError, InputError
from mlms.hooks import Component, Context, Processor


@dataclass(frozen=True, slots=True)
class Normalize:
    """(x - mean) / std for each channel of a floating array (..., channels); float32 is computed in float32.

    Raises:
        DataError: the value is not floating, or its last axis is not as long as ``mean``.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, value: Any) -> npt.NDArray[np.floating[Any]]:
        image = np.asarray(value)
        if image.dtype.kind != "f":
            raise DataError(
                f"normalize takes floating numbers, not {image.dtype}", hint="put rescale: {factor: 1/255} before it"
            )
        if image.ndim == 0 or image.shape[-1] != len(self.mean):
            raise DataError(
                f"normalize has {len(self.mean)} channels, but the value has shape {image.shape} (channels last)",
                hint="give one mean and std a channel, and put to_chw after normalize",
            )
        mean, std = (np.asarray(numbers, dtype=image.dtype) for numbers in (self.mean, self.std))
        normalized: npt.NDArray[np.floating[Any]] = (image - mean) / std
        return normalized


def make(options: Mapping[str, Any], context: Context) -> Processor:
    mean, std = tuple(map(float, options["mean"])), tuple(map(float, options["std"]))
    if len(mean) != len(std):
        raise InputError(
            f"normalize: mean has {len(mean)} entries and std {len(std)}", hint="give one of each a channel"
        )
    return Normalize(mean, std)


COMPONENT: Component[Processor] = Component(
    name="normalize",
    make=make,
    summary="(x - mean) / std for each channel, channels last",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["mean", "std"],
        "properties": {
            "mean": {"type": "array", "items": {"type": "number"}, "minItems": 1},
            "std": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 1},
        },
    },
)
