"""``top_k``: scores to the best classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlms.builtins.scores import best_classes, scores_of
from mlms.errors import DataError
from mlms.hooks import Classification, Component, Context, Processor


@dataclass(frozen=True, slots=True)
class TopK:
    """The ``k`` best classes of one sample's scores (classes,), with their labels where there are any.

    Of equal scores the lower index comes first. A k beyond the number of classes gives all of them.

    Raises:
        DataError: the value is not one array of shape (classes,), or there are not as many labels as classes.
    """

    k: int
    labels: tuple[str, ...] | None = None
    source: str = "the label list"

    def __call__(self, value: Any) -> Classification:
        scores = scores_of(value)
        if self.labels is not None and len(self.labels) != scores.size:
            raise DataError(
                f"labels don't fit: the model gives {scores.size} scores, but {self.source} has {len(self.labels)}"
                " labels",
                hint="name the label list that the model was trained with in top_k",
            )
        classes = tuple(best_classes(scores, self.k).tolist())
        return Classification(scores, classes, self.labels and tuple(self.labels[index] for index in classes))


def make(options: Mapping[str, Any], context: Context) -> Processor:
    found = labels_of(options, context)
    k = options.get("k", 5)
    return TopK(k) if found is None else TopK(k, found.labels, found.source)


@dataclass(frozen=True, slots=True)
class LabelList:
    """Class names in the order of their indices, and what to call the list."""

    labels: tuple[str, ...]
    source: str


def labels_of(options: Mapping[str, Any], context: Context) -> LabelList | None:
    """The labels that ``top_k`` with these options names classes by.

    Raises:
        UnknownNameError: there is no label list of that name.
    """
    labels = options.get("labels")
    if isinstance(labels, str):
        return LabelList(context.labels(labels), f"'{labels}'")
    return None if labels is None else LabelList(tuple(labels), "the label list")


COMPONENT: Component[Processor] = Component(
    name="top_k",
    make=make,
    summary="class scores to the best classes and their labels",
    options={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "k": {"type": "integer", "minimum": 1, "default": 5},
            "labels": {
                "description": "the name of a label list, or the labels in the order of their indices",
                "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            },
        },
    },
)
