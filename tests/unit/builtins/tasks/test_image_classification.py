from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes.contexts import context
from mlms.builtins.tasks import COMPONENTS
from mlms.errors import DataError, ModelError
from mlms.hooks import Classification, Task
from mlms.manifests.types import DatasetAsset, Step


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


def trained(labels: str | list[str] | None, dataset: DatasetAsset) -> Task:
    """The task for a model whose top_k has these labels."""
    step = Step("top_k", {} if labels is None else {"labels": labels})
    where = context()
    assert where.model is not None
    model = replace(where.model, postprocess=(Step("softmax"), step))
    return COMPONENTS[0].make({}, replace(where, model=model, dataset=dataset))


THREE = {"logits": np.zeros((1, 3))}


@pytest.mark.parametrize("names", [("a", "b", "c"), ("A", "b ", "_c")])
def test_the_models_own_labels_fit(names: tuple[str, ...]) -> None:
    dataset = labelled(*names)
    assert trained("abc", dataset).check(THREE, dataset) is None
    assert trained(list("abc"), dataset).check(THREE, dataset) is None
    assert trained(None, dataset).check(THREE, dataset) is None


def test_the_models_labels_in_another_order_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.yaml"
    file.write_text("kind: dataset\nname: data\nlabels: [a, c, b]\n")
    dataset = replace(labelled("a", "c", "b"), file=file)
    with pytest.raises(DataError) as caught:
        trained("abc", dataset).check(THREE, dataset)
    assert "'c' is class 1 of dataset 'data', but class 2 of model 'model' (top_k's labels, 'abc')" in str(caught.value)
    assert str(caught.value).startswith(f"{file}:3")
    assert "the model's order" in (caught.value.hint or "")


def test_most_names_at_other_places_are_refused_too() -> None:
    dataset = labelled("z", "a", "b")
    with pytest.raises(DataError, match="'a' is class 1 of dataset 'data', but class 0 of model"):
        trained("abc", dataset).check(THREE, dataset)


def test_other_names_for_the_same_places_give_a_warning() -> None:
    dataset = labelled("a", "crane bird", "crane", "d")
    warning = trained(["a", "crane", "construction crane", "d"], dataset).check({"x": np.zeros((1, 4))}, dataset)
    assert warning is not None
    assert "2 of 4 labels differ" in warning
    assert "class 1 is 'crane bird' in the one and 'crane' in the other" in warning


def test_classes_that_a_reader_found_are_to_be_declared() -> None:
    declared = labelled()
    for found, problem in ((("n01", "n02"), "dataset 'data' has 2 classes"), (("b", "a", "c"), "'b' is class 0")):
        with pytest.raises(DataError, match=problem) as caught:
            trained("abc", declared).check(THREE, replace(declared, labels=found))
        assert "declare the model's ('abc')" in (caught.value.hint or "")


def test_scores_that_are_no_numbers_name_no_class(task: Task) -> None:
    """A run without targets computes no metric that would say so."""
    for scores in (np.array([1, np.nan, 3]), Classification(np.full(3, np.nan), (0, 1))):
        with pytest.raises(ModelError, match="scores hold NaN"):
            task.describe(scores)


@pytest.mark.parametrize("outputs", [{}, {"a": np.zeros(3)}, {"a": np.zeros((1, 2)), "b": np.zeros((1, 2))}])
def test_outputs_of_another_task(task: Task, outputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="needs one output"):
        task.check(outputs, labelled("a", "b"))
