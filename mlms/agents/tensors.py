"""Tensors of the Open Inference Protocol and NumPy's arrays: as raw little-endian bytes, or as lists of values."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
"""NumPy's name for each datatype that has one; besides these there are BYTES (text or bytes) and BF16."""
NAMES = {name: datatype for datatype, name in DATATYPES.items()}

_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where a list of values of each datatype stands; FP16 and BF16 are sent raw only."""


def from_raw(datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> npt.NDArray[Any]:
    """The array that raw bytes hold: a view of them where its alignment allows, read-only. BF16 becomes float32.

    Raises:
        ValueError: the datatype is unknown, or the bytes are too many or too few.
    """
    count = _count(shape)
    if datatype == "BYTES":
        return _objects(_split(raw), shape, count)
    name = "uint16" if datatype == "BF16" else DATATYPES.get(datatype)
    if name is None:
        raise ValueError(f"there is no datatype '{datatype}'; there are {', '.join([*DATATYPES, 'BF16', 'BYTES'])}")
    dtype = np.dtype(name).newbyteorder("<")
    if len(raw) != count * dtype.itemsize:
        expected = f"{count * dtype.itemsize} bytes ({datatype} {list(shape)})"
        raise ValueError(f"{expected} are expected, and {len(raw)} were sent")
    array = np.frombuffer(raw, dtype).reshape(shape)
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return np.require(array, requirements=["A"])


def from_contents(datatype: str, shape: Sequence[int], contents: Any) -> npt.NDArray[Any]:
    """The array that lists of values (an InferTensorContents) hold.

    Raises:
        ValueError: the datatype is unknown or only sent raw, a value doesn't fit it, or they are too many or too few.
    """
    field = _CONTENTS.get(datatype)
    if field is None:
        known = datatype in DATATYPES or datatype == "BF16"
        reason = "is sent as raw bytes only" if known else f"is unknown; there are {', '.join(_CONTENTS)}"
        raise ValueError(f"datatype '{datatype}' {reason}")
    values, count = getattr(contents, field), _count(shape)
    if len(values) != count:
        raise ValueError(f"{count} values in {field} are expected ({datatype} {list(shape)}), not {len(values)}")
    if datatype == "BYTES":
        return _objects(list(values), shape, count)
    try:
        return np.array(values, DATATYPES[datatype]).reshape(shape)
    except OverflowError:
        raise ValueError(f"a value doesn't fit into {datatype}") from None


def to_raw(value: Any) -> tuple[str, tuple[int, ...], bytes | memoryview]:
    """An output's datatype, shape and bytes, which are the array's own where they lie in one piece.

    Raises:
        ValueError: this is no tensor.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError("its entries have different shapes") from None
    if array.dtype.kind in "OUS":
        return "BYTES", array.shape, b"".join(map(_with_length, array.ravel().tolist()))
    datatype = NAMES.get(array.dtype.name)
    if datatype is None:
        raise ValueError(f"it is {array.dtype}, which the protocol has no datatype for")
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return datatype, array.shape, flat.view(np.uint8).data if flat.size else b""


def _count(shape: Sequence[int]) -> int:
    if any(length < 0 for length in shape):
        raise ValueError(f"the shape {list(shape)} has a negative length")
    return math.prod(shape)


def _objects(values: Sequence[bytes], shape: Sequence[int], count: int) -> npt.NDArray[Any]:
    if len(values) != count:
        raise ValueError(f"{count} BYTES are expected (shape {list(shape)}), and {len(values)} were sent")
    array = np.empty(count, object)
    array[:] = values
    return array.reshape(shape)


def _split(raw: bytes | memoryview) -> list[bytes]:
    """Texts, each behind its length in four bytes."""
    found, position = [], 0
    while position < len(raw):
        if position + 4 > len(raw):
            raise ValueError("the BYTES are cut short")
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4 + length
        if position > len(raw):
            raise ValueError("the BYTES are cut short")
        found.append(bytes(raw[position - length : position]))
    return found


def _with_length(value: Any) -> bytes:
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        raise ValueError(f"it holds a {type(value).__name__}, which is neither text nor bytes")
    return struct.pack("<I", len(value)) + value
