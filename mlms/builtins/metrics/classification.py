"""``top1`` and ``top5``: how often the right class is among the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.scores import best_classes, refuse_nan, scores_of
from mlms.errors import DataError
from mlms.hooks import Component, Context, Metric


class TopKAccuracy:
    """The share of samples whose target is among the ``k`` best classes, in percent (micro average).

    Predictions are Classifications or scores (classes,), targets class indices. With fewer than ``k`` classes, all
    of them count. Counted by torchmetrics, which is imported at the first update: it takes seconds, and a model's
    first inference should not wait for it.
    """

    unit = "%"

    def __init__(self, k: int) -> None:
        self._k = k
        self._correct = 0
        self._total = 0

    def update(self, predictions: Sequence[Any], targets: Sequence[Any]) -> None:
        """Count a batch.

        Raises:
            DataError: a target is missing or no class of the model, or predictions differ in their classes.
            ModelError: a score is not a number.
        """
        if not predictions:
            return
        from torch import from_numpy
        from torchmetrics.functional.classification import multiclass_stat_scores

        scores = _stack(predictions)
        classes = scores.shape[1]
        k = min(self._k, classes)
        # Ranks instead of scores: torch breaks ties as it likes, and a prediction's own order must be what counts.
        ranks = np.empty(scores.shape, dtype=np.float32)
        np.put_along_axis(ranks, best_classes(scores, classes), np.linspace(1, 0, classes, dtype=np.float32), axis=1)
        counts = multiclass_stat_scores(
            from_numpy(ranks), from_numpy(_indices(targets, classes)), num_classes=classes, average="micro", top_k=k
        )
        self._correct += int(counts[0])
        self._total += len(predictions)

    def compute(self) -> float:
        """The accuracy in percent.

        Raises:
            DataError: there was no sample.
        """
        if not self._total:
            raise DataError("an accuracy needs at least one sample", hint="check the dataset and --limit")
        return 100 * self._correct / self._total


def _stack(predictions: Sequence[Any]) -> npt.NDArray[np.floating[Any]]:
    rows = [scores_of(prediction) for prediction in predictions]
    sizes = sorted({row.size for row in rows})
    if len(sizes) > 1:
        raise DataError(f"predictions differ in their number of classes: {sizes}", hint="check the postprocess steps")
    scores = np.stack(rows)
    refuse_nan(scores)
    return scores


def _indices(targets: Sequence[Any], classes: int) -> npt.NDArray[np.int64]:
    for target in targets:
        if isinstance(target, bool) or not isinstance(target, (int, np.integer)):
            raise DataError(
                f"an accuracy needs class indices as targets, not {target!r}",
                hint="use a dataset with targets, and declare its labels where targets are names",
            )
        if not 0 <= target < classes:
            raise DataError(
                f"labels don't fit: the dataset has the class {target}, but the model only 0 to {classes - 1}",
                hint="choose a dataset with the labels that the model was trained on",
            )
    return np.asarray(targets, dtype=np.int64)


def _make(k: int, options: Mapping[str, Any], context: Context) -> Metric:
    return TopKAccuracy(k)


COMPONENTS: tuple[Component[Metric], ...] = (
    Component(name="top1", make=partial(_make, 1), summary="accuracy: the best class is right"),
    Component(name="top5", make=partial(_make, 5), summary="accuracy: the right class is among the best five"),
)
