"""Every datatype, raw and as lists of values, against the official client's own conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from mlms.agents import protocol
from mlms.agents.tensors import _CONTENTS, DATATYPES, from_contents, from_raw, to_raw


@pytest.mark.parametrize("datatype", list(DATATYPES))
def test_raw_tensors_are_the_official_clients(datatype: str) -> None:
    array = (np.arange(6).reshape(2, 3) % 2 if datatype == "BOOL" else np.arange(6).reshape(2, 3)).astype(
        DATATYPES[datatype]
    )
    sent = triton.InferInput("x", array.shape, datatype).set_data_from_numpy(array)._get_content()
    read = from_raw(datatype, array.shape, sent)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert to_raw(array)[:2] == (datatype, (2, 3))
    assert bytes(to_raw(array)[2]) == sent


@pytest.mark.parametrize("datatype", list(_CONTENTS))
def test_lists_of_values(datatype: str) -> None:
    values: list[Any] = [b"a", b""] if datatype == "BYTES" else [True, False] if datatype == "BOOL" else [1, 0]
    contents = protocol.new("InferTensorContents", **{_CONTENTS[datatype]: values})
    array = from_contents(datatype, [2, 1], contents)
    assert array.tolist() == [[values[0]], [values[1]]]
    assert array.dtype == (object if datatype == "BYTES" else DATATYPES[datatype])


def test_bfloat16_becomes_float32() -> None:
    exact = np.array([1.5, -2.0, 0.0], np.float32)
    raw = (exact.view(np.uint32) >> 16).astype("<u2").tobytes()
    read = from_raw("BF16", [3], raw)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, exact)


def test_texts() -> None:
    texts = np.array([["a", "ü"], ["", "long"]], object)
    datatype, shape, raw = to_raw(texts)
    assert (datatype, shape) == ("BYTES", (2, 2))
    assert from_raw("BYTES", shape, raw).tolist() == [[b"a", "ü".encode()], [b"", b"long"]]
    assert to_raw(["x", "yz"])[2] == b"\x01\0\0\0x\x02\0\0\0yz"


def test_an_aligned_tensor_is_a_view() -> None:
    data = np.arange(8, dtype=np.float32)
    assert np.shares_memory(from_raw("FP32", [8], data.view(np.uint8).data), data)
    unaligned = memoryview(b"\0" + data.tobytes())[1:]
    assert from_raw("FP32", [8], unaligned).flags.aligned
    assert np.shares_memory(np.frombuffer(to_raw(data)[2], np.float32), data)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "said"),
    [
        ("FP32", [2], b"\0" * 4, "8 bytes .FP32 .2.. are expected, and 4 were sent"),
        ("FP32", [-1], b"", "negative length"),
        ("FP8", [1], b"\0", "no datatype 'FP8'; there are BOOL"),
        ("BYTES", [1], b"\x05\0\0\0ab", "cut short"),
        ("BYTES", [1], b"\x05\0", "cut short"),
        ("BYTES", [2], b"\0\0\0\0", "2 BYTES are expected"),
    ],
)
def test_raw_bytes_that_dont_fit_are_refused(datatype: str, shape: list[int], raw: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_raw(datatype, shape, raw)


def test_values_that_dont_fit_are_refused() -> None:
    contents = protocol.new("InferTensorContents", int_contents=[300, 1])
    with pytest.raises(ValueError, match="doesn't fit into INT8"):
        from_contents("INT8", [2], contents)
    with pytest.raises(ValueError, match="3 values in int_contents are expected"):
        from_contents("INT32", [3], contents)
    with pytest.raises(ValueError, match="raw bytes only"):
        from_contents("FP16", [2], contents)


@pytest.mark.parametrize("value", [np.array([1j]), [{}, {}], [[1], [1, 2]]])
def test_what_is_no_tensor_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"it is|it holds|different shapes"):
        to_raw(value)
