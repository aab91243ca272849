"""``image_classification``: which of several classes an image shows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from mlms.builtins.processors import top_k
from mlms.builtins.processors.top_k import LabelList, labels_of
from mlms.builtins.scores import best_classes, refuse_nan, scores_of
from mlms.builtins.tasks.class_names import differing, other_order
from mlms.errors import DataError, Place
from mlms.hooks import Classification, Component, Context, Outputs, Task
from mlms.manifests.reader import place_of
from mlms.manifests.types import DatasetAsset

NAME = "image_classification"

SHOWN = 5
"""Classes described of a prediction that is bare scores; a Classification says itself how many."""


def describe(prediction: Any) -> Mapping[str, Any]:
    """Columns of one prediction: ``class``, ``label``, and best first ``classes``, ``labels`` and ``scores``.

    The labels are None without a label list.

    Raises:
        DataError: the prediction holds no class scores.
        ModelError: a score is not a number, so that there is no best class.
    """
    scores = scores_of(prediction)
    refuse_nan(scores)
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


def check(outputs: Outputs, dataset: DatasetAsset, context: Context) -> str | None:
    """Hold the model's classes against the dataset's labels: their number and, where the model has labels, their names.

    Gives a sentence to warn with where names differ without saying that any stands for another class.

    Raises:
        DataError: the model has several outputs, one that is not (batch, classes), another number of classes, or the
            dataset's labels in another order.
    """
    shapes = {name: np.shape(output) for name, output in outputs.items()}
    shape = next(iter(shapes.values()), ())
    if len(shapes) != 1 or len(shape) != 2:
        found = ", ".join(f"{name} of shape {shape}" for name, shape in shapes.items()) or "no output"
        raise DataError(
            f"image_classification needs one output of shape (batch, classes), but the model gives {found}",
            hint="check the model's task",
        )
    if dataset.labels is None:
        return None
    known = _model_labels(context)
    undeclared = context.dataset is not None and context.dataset.labels is None
    if len(dataset.labels) != shape[1]:
        raise DataError(
            f"labels don't fit: the model tells {shape[1]} classes apart, but dataset '{dataset.name}' has"
            f" {len(dataset.labels)} {'classes' if undeclared else 'labels'}",
            place=_labels_place(dataset),
            hint=_declare(known) if undeclared else "choose a dataset with the labels that the model was trained on",
        )
    if known is None or len(known.labels) != len(dataset.labels):  # top_k itself refuses too many or too few
        return None
    model = "the model" if context.model is None else f"model '{context.model.name}'"
    moved = other_order(dataset.labels, known.labels)
    if moved is not None:
        raise DataError(
            f"labels don't fit: '{moved.name}' is class {moved.ours} of dataset '{dataset.name}', but class"
            f" {moved.theirs} of {model} (top_k's labels, {_where(known, context)})",
            place=_labels_place(dataset),
            hint=_declare(known) if undeclared else "bring the dataset's labels and targets into the model's order",
        )
    others = differing(dataset.labels, known.labels)
    if not others:
        return None
    first = others[0]
    return (
        f"{len(others)} of {len(known.labels)} labels differ between dataset '{dataset.name}' and {model}"
        f" ({_where(known, context)}): class {first} is '{dataset.labels[first]}' in the one and"
        f" '{known.labels[first]}' in the other; the accuracy is right only if both mean the same"
    )


def _model_labels(context: Context) -> LabelList | None:
    steps = () if context.model is None else context.model.postprocess
    return next((labels_of(step.options, context) for step in steps if step.name == top_k.COMPONENT.name), None)


def _where(known: LabelList, context: Context) -> str:
    model = context.model
    if model is None or model.file is None:
        return known.source
    position = [step.name for step in model.postprocess].index(top_k.COMPONENT.name)
    return f"{known.source} in {place_of(model.file, ('postprocess', position, top_k.COMPONENT.name, 'labels'))}"


def _labels_place(dataset: DatasetAsset) -> Place | None:
    return place_of(dataset.file, ("labels",)) if dataset.file else None


def _declare(known: LabelList | None) -> str:
    """The mend where a reader numbered the names that it found."""
    whose = "the model's" if known is None else f"the model's ({known.source})"
    return (
        f"the dataset declares no labels, so its classes are numbered in sorted order: declare {whose}, and name"
        " directories or targets after them"
    )


def make(options: Mapping[str, Any], context: Context) -> Task:
    return Task(NAME, metrics=("top1", "top5"), describe=describe, check=partial(check, context=context))


COMPONENT: Component[Task] = Component(name=NAME, make=make, summary="which of several classes an image shows")
