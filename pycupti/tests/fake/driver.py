"""Python's side of the stand-in libcupti."""

import ctypes
from enum import IntEnum
from pathlib import Path

from pycupti import library


class Switch(IntEnum):
    """fake.h's switches."""

    VERSION = 0
    ASYNC = 1
    DELAY_US = 2
    SUBSCRIBE_RESULT = 3
    ENABLE_RESULT = 4
    ENABLE_KIND = 5
    ZERO_TIMES = 6
    DUPLICATES = 7
    MISSING = 8
    INNER_IDS = 9
    UNKNOWN = 10
    TRUNCATE = 11
    KEEP_BUFFERS = 12
    FLUSH_RESULT = 13
    OLD_DRIVER = 14


class Fake:
    """Launches work on the stand-in, and says what it emitted."""

    def __init__(self, path: Path) -> None:
        """Load it; the core binds to the same object."""
        self.library = ctypes.CDLL(str(path))
        #: The same functions with the GIL held throughout.
        self.holding_gil = ctypes.PyDLL(str(path))
        for name in ("fake_emitted", "fake_lost", "fake_wait_returned", "fake_kernels", "fake_told"):
            getattr(self.library, name).restype = ctypes.c_uint64
        self._names: dict[str, ctypes.Array[ctypes.c_char]] = {}

    def set(self, switch: Switch, value: int) -> None:
        self.library.fake_set(int(switch), ctypes.c_uint64(value))

    def reset(self) -> None:
        self.library.fake_wait_returned()
        self.library.fake_reset()

    def _name(self, name: str) -> "ctypes.Array[ctypes.c_char]":
        return self._names.setdefault(name, ctypes.create_string_buffer(name.encode()))

    def launch(self, name: str = "kernel", stream: int = 7, count: int = 1) -> None:
        self.library.fake_launch_many(self._name(name), stream, count)

    def launch_threads(self, count: int, threads: int, first_span: int, name: str = "kernel") -> None:
        """Each thread opens a span of its own through the core's C functions, as a program without a GIL would."""
        core = library.core()
        push, pop = (
            ctypes.c_void_p(int(core.ffi.cast("uintptr_t", core.ffi.addressof(core.lib, function))))
            for function in ("pcu_push", "pcu_pop")
        )
        self.library.fake_launch_threads(self._name(name), count, threads, ctypes.c_uint64(first_span), push, pop)

    def graph(self, nodes: int, replays: int, name: str = "node") -> None:
        self.library.fake_graph(self._name(name), nodes, replays)

    def copy(self, size: int, peer: bool = False) -> None:
        self.library.fake_copy(ctypes.c_uint64(size), int(peer))

    def memset(self, size: int) -> None:
        self.library.fake_memset(ctypes.c_uint64(size))

    def query(self) -> None:
        self.library.fake_query()

    def synchronize(self) -> None:
        self.library.fake_synchronize()

    def late(self) -> None:
        self.library.fake_late()

    def others(self) -> None:
        self.library.fake_others()

    @property
    def emitted(self) -> int:
        return int(self.library.fake_emitted())

    @property
    def lost(self) -> int:
        return int(self.library.fake_lost())

    @property
    def told(self) -> int:
        return int(self.library.fake_told())

    @property
    def enabled(self) -> int:
        return int(self.library.fake_enabled())

    @property
    def subscribed(self) -> bool:
        return bool(self.library.fake_subscribed())

    @property
    def finalized(self) -> bool:
        return bool(self.library.fake_finalized())
