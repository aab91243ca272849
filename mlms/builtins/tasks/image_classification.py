"""``image_classification``: which of several classes an image shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlms.builtins.scores import best_classes, scores_of
from mlms.errors import DataError
from mlms.hooks import Classification, Component, Outputs, Task
from mlms.manifests.types import DatasetAsset

SHOWN = 5
"""Classes described of a prediction that is bare scores; a Classification says itself how many."""


def describe(prediction: Any) -> Mapping[str, Any]:
    """Columns of one prediction: ``class``, ``label``, and best first ``classes``, ``labels`` and ``scores``.

    The labels are None without a label list.

    Raises:
        DataError: the prediction holds no class scores.
    """
    scores = scores_of(prediction)
    if isinstance(prediction, Classification):
        classes, labels = prediction.classes, prediction.labels
    else:
        classes, labels = tuple(best_classes(scores, SHOWN).tolist()), None
    return {
        "class": classes[0],
        "label": labels[0] if labels else None,
        "classes": list(classes),
        "labels": list(labels) if labels else None,
        "scores": [float(scores[index]) for index in classes],
    }


def check(outputs: Outputs, dataset: DatasetAsset) -> None:
    """Hold the number of the model's classes against the dataset's labels.

    Raises:
        DataError: the model has several outputs, one that is not (batch, classes), or another number of classes.
    """
    shapes = {name: np.shape(output) for name, output in outputs.items()}
    shape = next(iter(shapes.values()), ())
    if len(shapes) != 1 or len(shape) != 2:
        found = ", ".join(f"{name} of shape {shape}" for name, shape in shapes.items()) or "no output"
        raise DataError(
            f"image_classification needs one output of shape (batch, classes), but the model gives {found}",
            hint="check the model's task",
        )
    if dataset.labels is not None and len(dataset.labels) != shape[1]:
        raise DataError(
            f"labels don't fit: the model tells {shape[1]} classes apart, but dataset '{dataset.name}' has"
            f" {len(dataset.labels)} labels",
            hint="choose a dataset with the labels that the model was trained on",
        )


TASK = Task(name="image_classification", metrics=("top1", "top5"), describe=describe, check=check)

COMPONENT: Component[Task] = Component(
    name=TASK.name,
    make=lambda options, context: TASK,
    summary="which of several classes an image shows",
)
