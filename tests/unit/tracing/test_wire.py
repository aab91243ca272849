import numpy as np
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from mlms.tracing import wire

INTEGERS = st.integers(-(2**63), 2**63 - 1)


@given(INTEGERS)
def test_integers_are_protobuf_s(value: int) -> None:
    assert wrappers_pb2.Int64Value.FromString(wire.integer(1, value)).value == value


@given(st.lists(INTEGERS | st.integers(0, 300)))
def test_many_integers_are_as_one_by_one(values: list[int]) -> None:
    assert wire.varints(np.array(values, np.int64)) == [wire.varint(value) for value in values]


@given(st.floats(allow_nan=False))
def test_doubles_are_protobuf_s(value: float) -> None:
    assert wrappers_pb2.DoubleValue.FromString(wire.double(1, value)).value == value


def test_texts_without_utf_8_are_replaced() -> None:
    assert wrappers_pb2.StringValue.FromString(wire.text(1, "é\ud800")).value == "é?"
