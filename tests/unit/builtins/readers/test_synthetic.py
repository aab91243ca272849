from __future__ import annotations

import numpy as np
import pytest

from fakes.contexts import context, make
from mlms.builtins.readers import COMPONENTS
from mlms.errors import DataError
from mlms.hooks import Dataset
from mlms.manifests.types import TensorSpec

IMAGE = TensorSpec("image", "float32", (3, 4, 5))
TOKENS = TensorSpec("tokens", "int64", (None,))


def read(*inputs: TensorSpec, seed: int = 0, **options: object) -> Dataset:
    dataset: Dataset = make(COMPONENTS, "synthetic", options, context(inputs=inputs, seed=seed))
    return dataset


def test_one_input_gives_arrays_of_its_shape() -> None:
    dataset = read(IMAGE)
    assert len(dataset) == 256
    assert dataset[7].value.shape == (3, 4, 5)
    assert dataset[7].value.dtype == np.float32
    assert dataset[7].target is None
    assert dataset[7].id == "synthetic-7"
    with pytest.raises(IndexError):
        dataset[256]


def test_several_inputs_give_a_dict() -> None:
    value = read(IMAGE, TensorSpec("scale", "float16", ()), count=2)[0].value
    assert {name: (array.dtype, array.shape) for name, array in value.items()} == {
        "image": (np.float32, (3, 4, 5)),
        "scale": (np.float16, ()),
    }


def test_a_sample_depends_on_seed_and_index_only() -> None:
    first = read(IMAGE, seed=3)
    assert np.array_equal(first[5].value, read(IMAGE, seed=3, count=6)[5].value)
    assert not np.array_equal(first[5].value, first[4].value)
    assert not np.array_equal(first[5].value, read(IMAGE, seed=4)[5].value)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool"])
def test_whole_numbers_are_zero_or_one(dtype: str) -> None:
    value = read(TensorSpec("x", dtype, (1000,)))[0].value
    assert value.dtype == np.dtype(dtype)
    assert set(value.tolist()) == {0, 1}


def test_a_free_dimension_needs_a_length() -> None:
    with pytest.raises(DataError, match="free dimension") as caught:
        read(TOKENS)
    assert caught.value.hint == "give its shape: synthetic: {dims: {tokens: [128]}}"
    assert read(TOKENS, dims={"tokens": [9]})[0].value.shape == (9,)


@pytest.mark.parametrize("dims", [{"tokens": [1, 2]}, {"image": [3, 4, 6], "tokens": [1]}, {"other": [1]}])
def test_dims_that_do_not_fit(dims: dict[str, list[int]]) -> None:
    with pytest.raises(DataError, match="dims: "):
        read(IMAGE, TOKENS, dims=dims)


def test_a_type_that_can_not_be_drawn() -> None:
    with pytest.raises(DataError, match="bfloat16"):
        read(TensorSpec("x", "bfloat16", (2,)))


def test_no_model_input() -> None:
    with pytest.raises(DataError, match="needs a model"):
        read()
