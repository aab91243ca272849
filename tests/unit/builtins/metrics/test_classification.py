from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.contexts import context, make
from mlms.builtins.metrics import COMPONENTS
from mlms.errors import DataError, ModelError
from mlms.hooks import Classification, Metric

SCORES = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5]], np.float32)


def metric(name: str = "top1") -> Metric:
    made: Metric = make(COMPONENTS, name, {}, context())
    return made


def test_the_share_of_right_answers_in_percent() -> None:
    top1 = metric()
    top1.update(list(SCORES), [1, 0, 0])
    assert top1.compute() == 100 * 2 / 3
    assert type(top1.compute()) is float
    assert top1.unit == "%"
    assert isinstance(top1, Metric)


def test_classifications_mappings_and_batches() -> None:
    top1 = metric()
    top1.update([Classification(SCORES[0], (1,))], [np.int64(1)])
    top1.update([], [])
    top1.update([{"logits": SCORES[1]}], [2])
    assert top1.compute() == 50.0


def test_top5_of_fewer_classes_is_all_of_them() -> None:
    top5 = metric("top5")
    top5.update(list(SCORES), [0, 1, 2])
    assert top5.compute() == 100.0


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_ties_count_as_top_k_breaks_them(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 12))
    rows = data.draw(
        st.lists(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=classes, max_size=classes), min_size=1, max_size=8)
    )
    targets = data.draw(st.lists(st.integers(0, classes - 1), min_size=len(rows), max_size=len(rows)))
    for name, k in (("top1", 1), ("top5", 5)):
        top = metric(name)
        top.update([np.array(row) for row in rows], targets)
        ranked = (sorted(range(classes), key=lambda index, row=row: (-row[index], index))[:k] for row in rows)
        hits = sum(target in best for best, target in zip(ranked, targets, strict=True))
        assert top.compute() == pytest.approx(100 * hits / len(rows))


def test_it_equals_torchmetrics_own_accuracy() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy

    random = np.random.default_rng(0)
    scores, targets = random.random((500, 1000), dtype=np.float32), random.integers(0, 1000, 500)
    targets[:200] = scores[:200].argmax(1)
    top5 = metric("top5")
    for start in range(0, 500, 64):
        top5.update(list(scores[start : start + 64]), list(targets[start : start + 64]))
    own = multiclass_accuracy(torch.from_numpy(scores), torch.from_numpy(targets), 1000, average="micro", top_k=5)
    assert top5.compute() == pytest.approx(100 * float(own))


@pytest.mark.parametrize("target", [3, -1])
def test_a_target_outside_the_classes(target: int) -> None:
    with pytest.raises(
        DataError, match=rf"labels don't fit: the dataset has the class {target}, but the model only 0 to 2"
    ):
        metric().update([SCORES[0]], [target])


@pytest.mark.parametrize("target", [None, "cat", 1.0, True])
def test_a_target_that_is_no_index(target: object) -> None:
    with pytest.raises(DataError, match="needs class indices as targets"):
        metric().update([SCORES[0]], [target])


def test_predictions_of_different_lengths() -> None:
    with pytest.raises(DataError, match=r"\[2, 3\]"):
        metric().update([SCORES[0], SCORES[0][:2]], [0, 0])


def test_scores_that_are_not_numbers() -> None:
    with pytest.raises(ModelError, match="NaN"):
        metric().update([np.array([np.nan, 1.0])], [1])


def test_nothing_to_count() -> None:
    with pytest.raises(DataError, match="at least one sample"):
        metric().compute()
