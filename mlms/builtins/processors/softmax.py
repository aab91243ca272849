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
    """exp(x) / sum(exp(x)) over one sample's scores (classes,), as float64.

    The largest score is subtracted first, which changes nothing but keeps exp from overflowing. The order of the scores
    stays, ties included: what would come out equal of unequal scores (all that lie 746 or more below the best would be
    0) is raised to the next floating-point number above.

    Raises:
        DataError: the value is not one array of shape (classes,).
    """

    def __call__(self, value: Any) -> npt.NDArray[np.float64]:
        scores = scores_of(value).astype(np.float64)
        levels, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
        powers = np.exp(levels - levels[-1])
        return _rising(powers / (powers * counts).sum())[places]


def _rising(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Positive values (n,) in ascending order, each raised above the one before where it isn't."""
    steps = np.arange(values.size)
    # Read as integers, positive floating-point numbers keep their order, and neighbours differ by 1 (IEEE 754).
    risen: npt.NDArray[np.int64] = np.maximum.accumulate(values.view(np.int64) - steps) + steps
    return risen.view(np.float64)


COMPONENT: Component[Processor] = Component(
    name="softmax",
    make=lambda options, context: Softmax(),
    summary="class scores to probabilities",
)
