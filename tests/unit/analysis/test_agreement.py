"""Answers beside a reference's, by the rule of numpy.allclose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from mlms.analysis.agreement import agreement
from mlms.errors import InputError

VALUES = st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
ROWS = arrays_of.arrays(np.float32, (4, 3), elements=VALUES)


@given(ROWS, ROWS, st.sampled_from([0.0, 1e-4, 1.0]), st.sampled_from([0.0, 1e-3, 0.5]))
def test_an_output_agrees_where_numpy_calls_it_close(a: np.ndarray, b: np.ndarray, atol: float, rtol: float) -> None:
    (found,) = agreement({"x": a}, {"x": b}, atol=atol, rtol=rtol)
    a, b = a.astype(np.float64), b.astype(np.float64)
    close = np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    assert found.outside == pytest.approx(1 - close.mean())
    assert found.agrees == bool(close.all())


def test_figures() -> None:
    b = np.array([[1.0, 2.0], [0.0, 4.0], [3.0, -1.0]])
    a = b + np.array([[0.0, 0.5], [0.0, 0.0], [-5.0, 0.0]])
    (found,) = agreement({"mine": a}, {"theirs": b}, atol=0.1, rtol=0.0)
    assert (found.name, found.reference) == ("mine", "theirs")
    assert found.max_abs == 5.0
    assert found.max_rel == pytest.approx(5 / 3)
    assert found.outside == pytest.approx(2 / 6)
    assert found.top1 == pytest.approx(2 / 3)
    assert found.worst == 2


def test_outputs_that_are_no_classes_have_no_top1() -> None:
    for shape in ((3,), (3, 1), (3, 2, 2)):
        (found,) = agreement({"x": np.zeros(shape)}, {"x": np.zeros(shape)})
        assert found.top1 is None
        assert found.agrees


def test_outputs_are_paired_by_name_then_by_place() -> None:
    one, two = np.zeros((2, 1)), np.ones((2, 1))
    by_name = agreement({"b": two, "a": one}, {"a": one, "b": two})
    assert all(output.max_abs == 0 for output in by_name)
    by_place = agreement({"x": one, "y": two}, {"a": one, "b": two})
    assert [(output.name, output.reference) for output in by_place] == [("x", "a"), ("y", "b")]
    both = agreement({"x": one, "y": two}, {"y": two, "z": one})
    assert [(output.name, output.reference, output.max_abs) for output in both] == [("x", "z", 0), ("y", "y", 0)]


def test_what_cannot_be_compared() -> None:
    x = np.zeros((2, 3))
    with pytest.raises(InputError, match="has the outputs x, y, and the reference x"):
        agreement({"x": x, "y": x}, {"x": x})
    with pytest.raises(InputError, match=r"shape \(2, 3\), and the reference's 'x' \(2, 2\)"):
        agreement({"x": x}, {"x": x[:, :2]})
    with pytest.raises(InputError, match="no sample"):
        agreement({"x": x[:0]}, {"x": x[:0]})
