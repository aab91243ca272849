"""Class scores of one sample, from whatever shape a prediction has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import DataError, ModelError
from mlms.hooks import Classification


def scores_of(prediction: Any) -> npt.NDArray[np.floating[Any]]:
    """The scores of shape (classes,) in a Classification, an array, or a mapping that holds one array.

    Integers become float32; floating types keep theirs.

    Raises:
        DataError: the prediction holds several arrays, or one that is not of shape (classes,).
    """
    if isinstance(prediction, Classification):
        return prediction.scores
    if isinstance(prediction, Mapping):
        if len(prediction) != 1:
            names = ", ".join(prediction) or "none"
            raise DataError(
                f"class scores need a model with one output, but this one has {len(prediction)} ({names})",
                hint="let the model's first postprocess step pick one of them",
            )
        prediction = next(iter(prediction.values()))
    scores = np.asarray(prediction)
    if scores.ndim != 1 or scores.size == 0 or scores.dtype.kind not in "fiu":
        raise DataError(
            f"class scores must be numbers of shape (classes,), but are {scores.dtype} of shape {scores.shape}",
            hint="check the model's task and its postprocess steps",
        )
    return scores if scores.dtype.kind == "f" else scores.astype(np.float32)


def refuse_nan(scores: npt.NDArray[np.floating[Any]]) -> None:
    """Raise ModelError where a score is not a number: such scores have no order."""
    if np.isnan(scores).any():
        raise ModelError("the model's class scores hold NaN", hint="try dtype float32, and check the preprocess steps")


def best_classes(scores: npt.NDArray[np.floating[Any]], k: int) -> npt.NDArray[np.intp]:
    """Indices of the k best of scores (..., classes) along the last axis, best first; of equals the lower comes first.

    A k beyond the classes gives all of them; NaN ranks last.
    """
    order: npt.NDArray[np.intp] = np.argsort(-scores, axis=-1, kind="stable")
    return order[..., :k]
