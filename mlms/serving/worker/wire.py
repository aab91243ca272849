"""How a worker and the process that uses it talk: frames of a JSON header and the bytes of its arrays.

Python 3.6 and NumPy are all this needs. An array's bytes go from its own memory to the socket, and from the socket into
the memory of the array that the other side is given.
"""

import json
import struct

import numpy as np

LENGTH = struct.Struct(">II")
"""Bytes of the header, and of all arrays."""


def send(connection, header, arrays):
    """Send a header (plain data) and arrays by name."""
    parts = [(name, np.ascontiguousarray(array)) for name, array in arrays.items()]
    for name, array in parts:
        if array.dtype.hasobject:
            raise TypeError("array '{}' holds Python objects, which can't be sent".format(name))
    header = dict(header, arrays=[(name, array.dtype.str, array.shape) for name, array in parts])
    text = json.dumps(header, default=_plain).encode("utf-8")
    connection.sendall(LENGTH.pack(len(text), 0) + text)
    for _, array in parts:
        if array.nbytes:
            connection.sendall(memoryview(array.reshape(-1)).cast("B"))


def receive(connection):
    """The header and the arrays of the next frame. Raises EOFError when the other side has hung up."""
    length, _ = LENGTH.unpack(bytes(_filled(connection, bytearray(LENGTH.size))))
    header = json.loads(bytes(_filled(connection, bytearray(length))).decode("utf-8"))
    arrays = {}
    for name, dtype, shape in header.pop("arrays"):
        array = np.empty(shape, dtype)
        if array.nbytes:
            _filled(connection, memoryview(array.reshape(-1)).cast("B"))
        arrays[name] = array
    return header, arrays


def _filled(connection, buffer):
    view = memoryview(buffer)
    while len(view):
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return buffer


def _plain(value):
    """NumPy's numbers in facts and attributes."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError("{} can't be sent".format(type(value).__name__))
