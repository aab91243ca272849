import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.tracing.attributes import dumps, loads

SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
ATTRIBUTES = st.dictionaries(st.text(), SCALARS | st.lists(SCALARS))


def shape(value: Any) -> Any:
    """A value with its types, which ``==`` alone would not tell apart (1, 1.0, True; 0.0, -0.0)."""
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value), repr(value)


@given(ATTRIBUTES)
def test_values_and_types_survive(attributes: dict[str, Any]) -> None:
    back = loads(dumps(attributes))
    assert {key: shape(value) for key, value in back.items()} == {
        key: shape(value) for key, value in attributes.items()
    }


def test_the_text_is_strict_json_even_without_numbers_in_it() -> None:
    text = dumps({"a": math.nan, "b": [math.inf, -math.inf, 1.0]})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)
    back = loads(text)
    assert math.isnan(back["a"])
    assert back["b"] == [math.inf, -math.inf, 1.0]


@pytest.mark.parametrize(
    ("given_value", "kept"),
    [
        ((1, 2), [1, 2]),
        (np.int32(3), 3),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        (np.bool_(True), True),
        (b"raw", "b'raw'"),
    ],
)
def test_other_types_become_the_nearest(given_value: Any, kept: Any) -> None:
    assert shape(loads(dumps({"x": given_value}))["x"]) == shape(kept)


def test_none_is_left_out() -> None:
    assert loads(dumps({"a": None, "b": 1})) == {"b": 1}
