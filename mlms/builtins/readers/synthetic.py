"""``synthetic``: random arrays in the shape of the model's input, to measure speed without data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import DataError
from mlms.hooks import Component, Context, Dataset, Sample
from mlms.manifests.types import SYNTHETIC, TensorSpec


@dataclass(frozen=True, slots=True)
class Synthetic:
    """``count`` samples that depend on nothing but seed and index, so that any one can be made again alone.

    A value is what the model takes: an array, or for several inputs a dict of arrays by name. Floating inputs are
    standard normal; integer and boolean ones 0 or 1, the only indices that every embedding and every mask has.
    """

    inputs: tuple[TensorSpec, ...]
    seed: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        random = np.random.default_rng((self.seed, index))
        arrays = {spec.name: _draw(random, spec) for spec in self.inputs}
        value = arrays if len(arrays) > 1 else next(iter(arrays.values()))
        return Sample(f"{SYNTHETIC}-{index}", value)


def _draw(random: np.random.Generator, spec: TensorSpec) -> npt.NDArray[Any]:
    shape = tuple(length or 0 for length in spec.shape)  # make has filled every free dimension in
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return random.standard_normal(shape, dtype=np.float32).astype(dtype)
    return random.integers(0, 2, size=shape).astype(dtype)


def make(options: Mapping[str, Any], context: Context) -> Dataset:
    """Take the shapes from the model; ``dims`` fills the free ones in.

    Raises:
        DataError: there is no model, a free dimension has no length, or ``dims`` does not fit the model's inputs.
    """
    if context.model is None or not context.model.input:
        raise DataError("synthetic data needs a model with an input", hint="name a model, or another dataset")
    model, dims = context.model, options.get("dims", {})
    names = [spec.name for spec in model.input]
    for name in dims:
        if name not in names:
            raise DataError(
                f"dims: model '{model.name}' has no input '{name}'", hint=f"its inputs are: {', '.join(names)}"
            )
    inputs = tuple(_filled(spec, dims.get(spec.name), model.name) for spec in model.input)
    return Synthetic(inputs, context.seed, options.get("count", 256))


def _filled(spec: TensorSpec, shape: list[int] | None, model: str) -> TensorSpec:
    if not _is_numeric(spec.dtype):
        raise DataError(f"synthetic data can't be of dtype '{spec.dtype}', which input '{spec.name}' of '{model}' has")
    written = [length if length is not None else "?" for length in spec.shape]
    if shape is None:
        if None in spec.shape:
            raise DataError(
                f"input '{spec.name}' of model '{model}' has a free dimension: {written}",
                hint=f"give its shape: synthetic: {{dims: {{{spec.name}: {[n or 128 for n in spec.shape]}}}}}",
            )
        return spec
    fits = len(shape) == len(spec.shape) and all(own in (None, n) for own, n in zip(spec.shape, shape, strict=True))
    if not fits:
        raise DataError(
            f"dims: {shape} does not fit input '{spec.name}' of model '{model}', which is {written}",
            hint="change only the free dimensions (?)",
        )
    return TensorSpec(spec.name, spec.dtype, tuple(shape))


def _is_numeric(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "biuf"
    except TypeError:  # a type that numpy doesn't have, such as bfloat16
        return False


COMPONENT: Component[Dataset] = Component(
    name=SYNTHETIC,
    make=make,
    summary="random arrays in the shape of the model's input; performance only",
    options={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "count": {"type": "integer", "minimum": 1, "default": 256, "description": "samples"},
            "dims": {
                "description": "whole shapes by input name, for inputs with free dimensions",
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 1}},
            },
        },
    },
)
