"""``softmax`` and ``top_k``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fakes.contexts import accepts, context, make
from mlms.builtins.processors import COMPONENTS, top_k
from mlms.errors import DataError, UnknownNameError
from mlms.hooks import Processor

LOGITS = arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-(2.0**100), 2.0**100, width=32))


def processor(name: str, **options: object) -> Processor:
    made: Processor = make(COMPONENTS, name, options, context())
    return made


@given(LOGITS)
def test_softmax_equals_torch(logits: np.ndarray) -> None:
    found = processor("softmax")(logits)
    assert found.dtype == np.float64
    assert np.abs(found - torch.from_numpy(logits).double().softmax(0).numpy()).max() < 1e-14


@given(
    LOGITS
    | arrays.arrays(np.float32, st.integers(1, 50), elements=st.sampled_from([-1e30, -900, -800, 0, 1e-30, 1e-8, 1]))
    | arrays.arrays(np.float16, st.integers(1, 50), elements=st.floats(width=16, allow_nan=False, allow_infinity=False))
)
def test_softmax_keeps_the_order_of_the_scores(logits: np.ndarray) -> None:
    found = processor("softmax")(logits)
    for above in (np.greater, np.equal):
        assert np.array_equal(above.outer(found, found), above.outer(logits, logits))


def test_far_and_near_scores_stay_apart() -> None:
    """In single precision the 8th score is 0 as the lowest ones are, and the first two are equal."""
    far = np.full(10, -5, np.float32)
    far[7:] = 30, 40, 160
    near = np.array([1e-3, 1.00001e-3, 0, 0], np.float32)
    for logits, best in ((far, (9, 8, 7, 0, 1)), (near, (1, 0, 2, 3))):
        assert processor("top_k")(processor("softmax")(logits)).classes == best


@pytest.mark.filterwarnings("ignore:invalid value")
def test_softmax_of_what_is_no_number() -> None:
    for bad in (np.nan, np.inf):
        assert np.isnan(processor("softmax")(np.array([1, bad, 3, 4], np.float32))).all()


def test_softmax_of_half_precision_and_of_a_named_output() -> None:
    found = processor("softmax")({"logits": np.array([60000, 60000], np.float16)})
    assert found.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", ["softmax", "top_k"])
@pytest.mark.parametrize(
    "value",
    [{"a": np.zeros(2), "b": np.zeros(2)}, {}, np.zeros((2, 2)), np.zeros(0), np.array(1.0), np.array(["a"]), "text"],
)
def test_values_that_are_no_scores(name: str, value: object) -> None:
    with pytest.raises(DataError, match="class scores"):
        processor(name)(value)


def test_top_k_keeps_all_scores_and_names_the_best() -> None:
    scores = np.array([0.1, 0.7, 0.2], np.float32)
    best = processor("top_k", k=2, labels="abc")(scores)
    assert best.classes == (1, 2)
    assert best.labels == ("b", "c")
    assert np.array_equal(best.scores, scores)
    assert processor("top_k", k=1, labels=["x", "y", "z"])(scores).labels == ("y",)
    assert processor("top_k")(scores).labels is None


@given(arrays.arrays(np.float32, st.integers(1, 12), elements=st.sampled_from([0.0, 0.5, 1.0])), st.integers(1, 15))
def test_of_equal_scores_the_lower_index_comes_first(scores: np.ndarray, k: int) -> None:
    expected = sorted(range(scores.size), key=lambda index: (-scores[index], index))[:k]
    assert list(processor("top_k", k=k)(scores).classes) == expected


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"the model gives 4 scores, but 'abc' has 3 labels"):
        processor("top_k", labels="abc")(np.zeros(4))
    with pytest.raises(UnknownNameError, match="'other'"):
        processor("top_k", labels="other")


def test_options_that_are_refused() -> None:
    for options in ({"k": 0}, {"k": 1.5}, {"labels": []}, {"labels": [1]}, {"n": 1}):
        assert not accepts(top_k.COMPONENT, options)
