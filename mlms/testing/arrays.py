"""Batches and outputs as the contracts need them: parts, copies, other layouts and dtypes, how far two differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.hooks import Outputs


def close(one: npt.NDArray[Any], other: npt.NDArray[Any], rtol: float, atol: float) -> bool:
    """Whether each element of ``one`` is within ``atol + rtol |other|``; equal, where they aren't fractions."""
    if one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other))
    return bool(np.allclose(one, other, rtol=rtol, atol=atol, equal_nan=True))


def difference(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> str:
    """The largest one, for a message; empty where there is none to tell."""
    if one.dtype.kind not in "biufc" or not one.size:
        return ""
    return f" by up to {np.max(np.abs(one.astype(np.float64) - other.astype(np.float64))):.3g}"


def first(samples: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The first ones of a batch, or of its outputs."""
    return {name: values[:size] for name, values in samples.items()}


def kept(outputs: Outputs) -> Outputs:
    """A copy, which nothing changes any more."""
    return {name: values.copy() if isinstance(values, np.ndarray) else values for name, values in outputs.items()}


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    copy: npt.NDArray[Any] = values.copy()
    copy.flags.writeable = False
    return copy


def _with_gaps(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    wide: npt.NDArray[Any] = np.empty((2 * len(values), *values.shape[1:]), values.dtype)
    wide[::2] = values
    return wide[::2]


LAYOUTS: Mapping[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    "read-only": _read_only,
    "with gaps": _with_gaps,
    "backwards": lambda values: values[::-1].copy()[::-1],
    "in Fortran's order": np.asfortranarray,
}


def other_dtype(dtype: np.dtype[Any]) -> str:
    """A wider one where there is one, so that the values stay what they are."""
    if dtype.kind == "f":
        return "float32" if dtype.itemsize == 8 else "float64"
    return "int32" if dtype == np.int64 else "int64"
