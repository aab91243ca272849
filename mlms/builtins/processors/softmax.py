"""``softmax``: scores to probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.scores import scores_of
from mlms.hooks import Component, Processor


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(x) / sum(exp(x)) over one sample's scores (classes,); float16 is computed and given as float32.

    The largest score is subtracted first, which changes nothing but keeps exp from overflowing.

    Raises:
        DataError: the value is not one array of shape (classes,).
    """

    def __call__(self, value: Any) -> npt.NDArray[np.floating[Any]]:
        scores = scores_of(value)
        if scores.dtype.itemsize < 4:
            scores = scores.astype(np.float32)
        powers = np.exp(scores - scores.max())
        probabilities: npt.NDArray[np.floating[Any]] = powers / powers.sum()
        return probabilities


COMPONENT: Component[Processor] = Component(
    name="softmax",
    make=lambda options, context: Softmax(),
    summary="class scores to probabilities",
)
