"""How a worker and the process that uses it talk: frames of a JSON header and the bytes of its arrays.

Python 3.6 and NumPy are all this needs. An array's bytes go from its own memory to the socket, and from the socket into
the memory of the array that the other side is given; small frames take one system call on each side. Large arrays of a
request are copied once, into memory that both sides share, and the worker is given them where they lie: they are the
request's, and end with it.
"""

import json
import mmap
import os
import socket
import struct
import time

import numpy as np

LENGTH = struct.Struct(">I")
"""Bytes of the header."""
AHEAD = 1 << 16
"""So many bytes are read at once, which holds all of a small frame."""
MOST_PARTS = 64
"""Parts handed to the system at once, which takes 1,024."""
WATCHED_S = 100e-6
"""How long the next frame is looked for awake, where another processor is there to send it."""
WATCHED_FOR_ANSWER_S = 300e-6
"""The same of an answer, which a small model takes about as long for as waking up takes."""
ALONE = not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) == 1
SHARED_FROM = 1 << 18
"""Arrays of so many bytes or more are worth sharing."""
ALIGNED = 64


class Shared:
    """Memory that two processes share: a file that is gone from its folder as soon as both have it open."""

    def __init__(self, path, new=False):
        self.path = path
        self._file = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0), 0o600)
        self._memory = None
        self.size = 0

    def hold(self, size):
        """Have at least ``size`` bytes; what was shared before is gone. Raises OSError where there is no room."""
        if size > self.size:
            if os.fstat(self._file).st_size < size:
                reserve(self._file, size)
            self._memory = mmap.mmap(self._file, size)
            self.size = size

    def array(self, dtype, shape, offset):
        return np.ndarray(shape, dtype, self._memory, offset)

    def close(self):
        """May be called twice."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._memory = None


def reserve(file, size):
    """Make a file longer, its memory taken at once: what is taken as it is written to kills who writes past the end."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


class Channel:
    """One end of a connected stream socket. It is for one thread at a time.

    ``shared`` is a path for the memory that this end shares its large arrays in; None to share none. The next frame is
    looked for awake for ``watched`` seconds.
    """

    def __init__(self, connection, shared=None, watched=WATCHED_S):
        self.connection = connection
        self._watched = 0 if ALONE else watched
        self._mine = None if shared is None else Shared(shared, new=True)
        self._theirs = None
        self._ahead = memoryview(bytearray(AHEAD))
        self._begin = self._end = 0

    def send(self, header, arrays):
        """Send a header (plain data) and arrays by name."""
        arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        header = dict(header)
        places = self._share(header, arrays)
        described, parts = [], []
        for name, array in arrays.items():
            if array.dtype.hasobject or array.dtype.kind == "V":
                raise TypeError("array '{}' is of dtype {}, which can't be sent".format(name, array.dtype))
            described.append((name, array.dtype.str, array.shape, places.get(name)))
            if array.nbytes and name not in places:
                parts.append(memoryview(array.reshape(-1)).cast("B"))
        text = encoded(dict(header, arrays=described)).encode("utf-8")
        parts.insert(0, memoryview(LENGTH.pack(len(text)) + text))
        while parts:
            sent = self.connection.sendmsg(parts[:MOST_PARTS])
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if sent:
                parts[0] = parts[0][sent:]

    def receive(self):
        """The header and the arrays of the next frame. Raises EOFError when the other side has hung up."""
        self._watch()
        (length,) = LENGTH.unpack(self._filled(bytearray(LENGTH.size)))
        header = json.loads(self._filled(bytearray(length)).decode("utf-8"))
        if "shared" in header:
            path, size = header.pop("shared")
            if self._theirs is None:
                self._theirs = Shared(path)
                os.unlink(path)
            self._theirs.hold(size)
        arrays = {}
        for name, dtype, shape, place in header.pop("arrays"):
            if place is not None:
                arrays[name] = self._theirs.array(dtype, shape, place)
                continue
            array = arrays[name] = np.empty(shape, dtype)
            if array.nbytes:
                self._filled(memoryview(array.reshape(-1)).cast("B"))
        return header, arrays

    def close(self):
        self.connection.close()
        for memory in (self._mine, self._theirs):
            if memory is not None:
                memory.close()

    def _share(self, header, arrays):
        """Copy large arrays to shared memory; where each lies. ``header`` tells the other side what to open."""
        if self._mine is None:
            return {}
        places, size = {}, 0
        for name, array in arrays.items():
            if array.nbytes >= SHARED_FROM:
                places[name] = size
                size += -(-array.nbytes // ALIGNED) * ALIGNED
        if size:
            try:
                self._mine.hold(size)
            except OSError:  # full: they go through the socket
                return {}
            header["shared"] = self._mine.path, self._mine.size
        for name, place in places.items():
            array = arrays[name]
            self._mine.array(array.dtype, array.shape, place)[...] = array
        return places

    def _filled(self, buffer):
        """``buffer``, once it is full: of what was read ahead, then of what comes."""
        view = memoryview(buffer)
        while len(view):
            if self._begin == self._end and len(view) >= AHEAD:
                count = self._read(view)
            else:
                if self._begin == self._end:
                    self._begin, self._end = 0, self._read(self._ahead)
                count = min(len(view), self._end - self._begin)
                view[:count] = self._ahead[self._begin : self._begin + count]
                self._begin += count
            view = view[count:]
        return buffer

    def _watch(self):
        """Look for the next frame for a moment before sleeping: waking up takes longer than a small model."""
        if self._begin < self._end or self._watched == 0:
            return
        deadline = time.perf_counter() + self._watched
        while True:
            try:
                count = self.connection.recv_into(self._ahead, AHEAD, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if time.perf_counter() > deadline:
                    return
                os.sched_yield()  # to a model's thread that has this processor to itself otherwise
                continue
            if not count:
                raise EOFError
            self._begin, self._end = 0, count
            return

    def _read(self, view):
        count = self.connection.recv_into(view)
        if not count:
            raise EOFError
        return count


def _plain(value):
    """NumPy's numbers in facts and attributes."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError("{} can't be sent".format(type(value).__name__))


encoded = json.JSONEncoder(default=_plain, check_circular=False).encode
