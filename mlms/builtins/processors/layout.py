"""``to_chw``, ``reshape`` and ``cast``: the same numbers in another order, shape or type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.processors.geometry import as_image
from mlms.errors import DataError
from mlms.hooks import Component, Context, Processor

FLOATS = ["float16", "float32", "float64"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@dataclass(frozen=True, slots=True)
class ToChw:
    """(height, width, channels) to contiguous (channels, height, width).

    Raises:
        DataError: the value does not have three axes.
    """

    def __call__(self, value: Any) -> npt.NDArray[Any]:
        return np.ascontiguousarray(as_image(value, "to_chw").transpose(2, 0, 1))


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same numbers in another ``shape``; one entry may be -1, which is worked out from the rest.

    Raises:
        DataError: the value has another number of elements.
    """

    shape: tuple[int, ...]

    def __call__(self, value: Any) -> npt.NDArray[Any]:
        array = np.asarray(value)
        try:
            return array.reshape(self.shape)
        except ValueError as error:
            raise DataError(
                f"reshape: a value of shape {array.shape} does not fit into {list(self.shape)}",
                hint="give a shape with as many elements, or -1 for one of its entries",
            ) from error


@dataclass(frozen=True, slots=True)
class Cast:
    """The same numbers in another ``dtype`` (numpy's name).

    Raises:
        DataError: the value is not numeric.
    """

    dtype: str

    def __call__(self, value: Any) -> npt.NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"cast: {type(value).__name__} is not numeric", hint="decode the value to numbers before cast"
            )
        return array.astype(self.dtype)


TO_CHW: Component[Processor] = Component(
    name="to_chw",
    make=lambda options, context: ToChw(),
    summary="(height, width, channels) to (channels, height, width)",
)


def make_reshape(options: Mapping[str, Any], context: Context) -> Processor:
    return Reshape(tuple(options["shape"]))


RESHAPE: Component[Processor] = Component(
    name="reshape",
    make=make_reshape,
    summary="the same numbers in another shape",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["shape"],
        "properties": {
            "shape": {
                "description": "the new shape of one sample; one entry may be -1",
                "type": "array",
                "items": {"type": "integer", "minimum": -1, "not": {"const": 0}},
                "contains": {"const": -1},
                "minContains": 0,
                "maxContains": 1,
            }
        },
    },
)


def make_cast(options: Mapping[str, Any], context: Context) -> Processor:
    return Cast(options["dtype"])


CAST: Component[Processor] = Component(
    name="cast",
    make=make_cast,
    summary="the same numbers in another type",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["dtype"],
        "properties": {"dtype": {"enum": ["bool", *INTEGERS, *FLOATS]}},
    },
)
