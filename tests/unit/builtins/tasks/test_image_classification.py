from __future__ import annotations

import json

import numpy as np
import pytest

from fakes.contexts import context
from mlms.builtins.tasks import COMPONENTS
from mlms.errors import DataError
from mlms.hooks import Classification, Task
from mlms.manifests.types import DatasetAsset


@pytest.fixture
def task() -> Task:
    return COMPONENTS[0].make({}, context())


def labelled(*labels: str) -> DatasetAsset:
    dataset = context(labels=labels or None).dataset
    assert dataset is not None
    return dataset


def test_its_name_and_metrics(task: Task) -> None:
    assert (task.name, task.metrics) == ("image_classification", ("top1", "top5"))


def test_a_classification_is_described_in_plain_values(task: Task) -> None:
    prediction = Classification(np.array([0.25, 0.5, 0.125], np.float32), (1, 0), ("b", "a"))
    described = {"class": 1, "label": "b", "classes": [1, 0], "labels": ["b", "a"], "scores": [0.5, 0.25]}
    assert task.describe(prediction) == described
    assert json.loads(json.dumps(task.describe(prediction))) == described


def test_bare_scores_are_described_too(task: Task) -> None:
    assert task.describe({"logits": np.array([3, 9, 9])}) == {
        "class": 1,
        "label": None,
        "classes": [1, 2, 0],
        "labels": None,
        "scores": [9.0, 9.0, 3.0],
    }


def test_outputs_that_fit(task: Task) -> None:
    task.check({"logits": np.zeros((4, 2))}, labelled("a", "b"))
    task.check({"logits": np.zeros((4, 2))}, labelled())


def test_labels_that_do_not_fit(task: Task) -> None:
    with pytest.raises(DataError, match=r"labels don't fit: the model tells 3 classes apart, but dataset 'data' has 2"):
        task.check({"logits": np.zeros((1, 3))}, labelled("a", "b"))


@pytest.mark.parametrize("outputs", [{}, {"a": np.zeros(3)}, {"a": np.zeros((1, 2)), "b": np.zeros((1, 2))}])
def test_outputs_of_another_task(task: Task, outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="needs one output"):
        task.check(outputs, labelled("a", "b"))
