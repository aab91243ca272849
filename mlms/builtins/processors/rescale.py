"""``rescale``: numbers times a factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import InputError
from mlms.hooks import Component, Context, Processor

NUMBER = r"[0-9]+(\.[0-9]+)?"


@dataclass(frozen=True, slots=True)
class Rescale:
    """Multiply by ``numerator / denominator``; any numeric array becomes float32 of the same shape.

    The two are kept apart because x / 255 and x * (1 / 255) differ in the last bit, and models were trained on the
    former.
    """

    numerator: float
    denominator: float = 1.0

    def __call__(self, value: Any) -> npt.NDArray[np.float32]:
        scaled = np.asarray(value).astype(np.float32)
        if self.numerator != 1:
            scaled *= np.float32(self.numerator)
        if self.denominator != 1:
            scaled /= np.float32(self.denominator)
        return scaled


def make(options: Mapping[str, Any], context: Context) -> Processor:
    factor = options["factor"]
    if not isinstance(factor, str):
        return Rescale(float(factor))
    numerator, _, denominator = factor.partition("/")
    if float(denominator) == 0:
        raise InputError(f"rescale: the factor {factor} divides by zero", hint="write 1/255 for 8-bit images")
    return Rescale(float(numerator), float(denominator))


COMPONENT: Component[Processor] = Component(
    name="rescale",
    make=make,
    summary="numbers times a factor, as float32",
    options={
        "type": "object",
        "additionalProperties": False,
        "required": ["factor"],
        "properties": {
            "factor": {
                "description": "a number, or a fraction such as 1/255",
                "oneOf": [{"type": "number"}, {"type": "string", "pattern": f"^{NUMBER}/{NUMBER}$"}],
            }
        },
    },
)
