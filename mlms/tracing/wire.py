"""Protocol Buffers' wire format, as far as messages are written: https://protobuf.dev/programming-guides/encoding/.

Fields are functions of a field's number and value that give its bytes; a message is its fields' bytes joined.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_DOUBLE = struct.Struct("<d")
_UNSIGNED = struct.Struct("<Q")
_MASK = (1 << 64) - 1


@lru_cache(maxsize=4096)
def varint(value: int) -> bytes:
    """An integer of 64 bits, a negative one in two's complement.

    >>> varint(300).hex()
    'ac02'
    """
    value &= _MASK
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def varints(values: npt.NDArray[np.int64]) -> list[bytes]:
    """The same for many integers at once."""
    bits = values.astype(np.uint64)
    shifts = np.arange(0, 70, 7, dtype=np.uint64)
    groups = bits[:, None] >> np.minimum(shifts, 63)
    # Groups overlap only in the tenth, which has the highest bit alone.
    sizes = np.maximum((groups[:, :9] > 0).sum(axis=1) + (bits >> np.uint64(63) > 0), 1)
    digits = (groups & np.uint64(0x7F)).astype(np.uint8)
    digits[np.arange(10) < sizes[:, None] - 1] |= 0x80
    data = digits.tobytes()
    return [data[at : at + size] for at, size in zip(range(0, len(data), 10), sizes.tolist(), strict=True)]


@lru_cache(maxsize=256)
def _tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def integer(number: int, value: int) -> bytes:
    """A field of type int64, uint64, bool or enum."""
    return _tag(number, _VARINT) + varint(value)


def fixed64(number: int, value: int) -> bytes:
    """A field of type fixed64."""
    return _tag(number, _FIXED64) + _UNSIGNED.pack(value)


def double(number: int, value: float) -> bytes:
    """A field of type double."""
    return _tag(number, _FIXED64) + _DOUBLE.pack(value)


def data(number: int, value: bytes) -> bytes:
    """A field of type bytes, or of a message that is already encoded."""
    return _tag(number, _BYTES) + varint(len(value)) + value


def text(number: int, value: str) -> bytes:
    """A field of type string; what UTF-8 can't hold (lone surrogates) becomes a question mark."""
    return data(number, value.encode("utf-8", "replace"))
