from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlms.errors import InputError, PluginError
from mlms.hooks import Sample
from mlms.manifests.types import TensorSpec
from mlms.pipeline.preparation import prepare, prepare_ahead, stack
from mlms.pipeline.stages import Stage

SCALAR = (TensorSpec("x", "float32", ()),)


@dataclass
class Numbers:
    """Samples that are their index; remembers the highest one that was read."""

    length: int
    delay: float = 0.0
    read: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        time.sleep(self.delay * (index % 3))
        self.read.append(index)
        self.threads.add(threading.get_ident())
        return Sample(str(index), np.float32(index), index)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(0, 40), workers=st.integers(1, 4), window=st.integers(1, 12))
def test_samples_come_in_order_and_never_too_far_ahead(length: int, workers: int, window: int) -> None:
    numbers = Numbers(length)
    for expected, sample in enumerate(
        prepare_ahead(numbers, range(length), (), SCALAR, workers=workers, window=window)
    ):
        assert sample.index == sample.target == expected
        assert sample.values["x"] == expected
        assert len(numbers.read) <= expected + 1 + window
    assert sorted(numbers.read) == list(range(length))


def test_the_work_is_spread_over_threads() -> None:
    numbers = Numbers(12, delay=0.01)
    list(prepare_ahead(numbers, range(12), (), SCALAR, workers=3, window=6))
    assert len(numbers.threads) > 1
    assert threading.get_ident() not in numbers.threads


def test_a_consumer_that_stops_early_leaves_no_work_behind() -> None:
    numbers = Numbers(1000, delay=0.001)
    ahead = prepare_ahead(numbers, range(1000), (), SCALAR, workers=2, window=4)
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    read = len(numbers.read)
    time.sleep(0.05)
    assert len(numbers.read) == read <= 5


def test_a_failure_comes_up_at_its_place() -> None:
    class Holed(Numbers):
        def __getitem__(self, index: int) -> Sample:
            if index == 3:
                raise OSError("a hole")
            return super().__getitem__(index)

    ahead = prepare_ahead(Holed(10), range(10), (), SCALAR, workers=2, window=4)
    assert [next(ahead).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(PluginError, match="Holed failed on sample 3: OSError: a hole"):
        next(ahead)


@pytest.mark.parametrize(
    ("value", "spec", "message"),
    [
        (np.zeros((2, 3), np.float32), TensorSpec("x", "float32", (3, 2)), "float32 2×3 where .* float32 3×2"),
        (np.zeros(3, np.float64), TensorSpec("x", "float32", (3,)), "float64 3 where .* float32 3"),
        (np.zeros((3, 1), np.float32), TensorSpec("x", "float32", (3,)), "3×1"),
        (np.zeros(3, np.float32), TensorSpec("x", "float32", (None, 4)), r"\?×4"),
        ({"y": np.zeros(3)}, TensorSpec("x", "float32", (3,)), "gives 'y', not the input 'x'"),
    ],
)
def test_what_does_not_fit_the_input_is_refused(value: Any, spec: TensorSpec, message: str) -> None:
    stages = [Stage("give", "p", lambda _: value)]
    with pytest.raises(InputError, match=message):
        prepare(Numbers(1), 0, stages, (spec,))


def test_a_free_dimension_takes_any_length() -> None:
    stages = [Stage("give", "p", lambda _: np.zeros((7, 4), np.float32))]
    sample = prepare(Numbers(1), 0, stages, (TensorSpec("x", "float32", (None, 4)),))
    assert sample.nbytes == 7 * 4 * 4


def test_batches_are_stacked_input_by_input() -> None:
    inputs = (TensorSpec("a", "int64", (2,)), TensorSpec("b", "float32", ()))
    give = Stage("give", "p", lambda value: {"a": np.array([value, 1], np.int64), "b": np.float32(value)})
    samples = [prepare(Numbers(3), index, [give], inputs) for index in range(3)]
    batch = stack(samples)
    assert batch["a"].tolist() == [[0, 1], [1, 1], [2, 1]]
    assert batch["b"].shape == (3,)
