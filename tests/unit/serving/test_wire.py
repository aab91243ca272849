"""Frames between a process and its worker: what is sent is what is received, however it is laid out."""

from __future__ import annotations

import errno
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from mlms.serving.worker import wire as untyped_wire

wire: Any = untyped_wire
DTYPES = st.sampled_from(["float32", "float64", "float16", "uint8", "int64", "bool", "complex64", "<U3", "S2"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays_of.arrays(np.dtype(dtype), arrays_of.array_shapes(min_dims=0, min_side=0, max_side=5))
)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    one, other = socket.socketpair()
    channels = wire.Channel(one, str(tmp_path / "shared")), wire.Channel(other)
    yield channels
    for channel in channels:
        channel.close()


def passed(ends: tuple[Any, Any], header: dict[str, Any], arrays: dict[str, Any]) -> tuple[Any, Any]:
    """What comes out at the other end."""
    sending = threading.Thread(target=ends[0].send, args=(header, arrays))
    sending.start()
    received = ends[1].receive()
    sending.join()
    return received  # type: ignore[no-any-return]


def same(one: Any, other: Any) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(max_size=5), ARRAYS, max_size=4), st.dictionaries(st.text(max_size=5), st.integers()))
def test_arrays_and_header_come_as_they_went(arrays: dict[str, Any], rest: dict[str, int]) -> None:
    one, other = socket.socketpair()
    with one, other:
        header, received = passed((wire.Channel(one), wire.Channel(other)), {"rest": rest}, arrays)
    assert header == {"rest": rest}
    assert list(received) == list(arrays)
    assert all(same(received[name], array) for name, array in arrays.items())


def test_any_layout_in_memory(ends: tuple[Any, Any]) -> None:
    base = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    arrays = {"transposed": base.T, "stepped": base[::2, ::-1], "big_endian": base.astype(">f4")}
    _, received = passed(ends, {}, arrays)
    assert all(np.array_equal(received[name], array) for name, array in arrays.items())


@pytest.mark.parametrize("count", [wire.SHARED_FROM // 4 - 1, wire.SHARED_FROM // 4, 3_000_000])
def test_large_arrays_come_whole_shared_or_not(ends: tuple[Any, Any], count: int) -> None:
    """One frame after the other, of growing and shrinking size, in both directions."""
    random = np.random.default_rng(0)
    for size in (count, 10, 2 * count, count // 2):
        array = random.standard_normal(size).astype(np.float32)
        _, received = passed(ends, {}, {"a": array, "b": array[:7]})
        assert np.array_equal(received["a"], array)
        assert np.array_equal(received["b"], array[:7])
        _, back = passed((ends[1], ends[0]), {}, {"c": array})
        assert np.array_equal(back["c"], array)


def test_shared_memory_leaves_no_file(ends: tuple[Any, Any], tmp_path: Path) -> None:
    passed(ends, {}, {"a": np.zeros(wire.SHARED_FROM, np.uint8)})
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_plain_on_the_other_side(ends: tuple[Any, Any]) -> None:
    header, _ = passed(ends, {"a": np.int64(3), "b": np.float32(0.5), "c": np.arange(2)}, {})
    assert header == {"a": 3, "b": 0.5, "c": [0, 1]}


def test_what_cannot_be_sent_is_said_before_anything_is(ends: tuple[Any, Any]) -> None:
    for array in (np.array([object()]), np.zeros(2, "V4")):
        with pytest.raises(
            TypeError, match=f"array 'a' is of dtype {re.escape(str(array.dtype))}, which can't be sent"
        ):
            ends[0].send({}, {"a": array})
    with pytest.raises(TypeError, match="set can't be sent"):
        ends[0].send({"a": {1}}, {})
    assert passed(ends, {"fine": 1}, {}) == ({"fine": 1}, {})


def test_where_memory_is_full_large_arrays_go_through_the_socket(
    ends: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    large = np.random.default_rng(0).random(wire.SHARED_FROM)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "reserve", full)
        header, arrays = passed(ends, {}, {"a": large})
        np.testing.assert_array_equal(arrays["a"], large)
    header, arrays = passed(ends, {}, {"a": large[::-1]})
    np.testing.assert_array_equal(arrays["a"], large[::-1])
    assert header == {}


def test_the_end_of_the_other_side(ends: tuple[Any, Any]) -> None:
    ends[0].close()
    with pytest.raises(EOFError):
        ends[1].receive()
