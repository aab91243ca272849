"""Linux's perf_event_open(2), as far as counting needs it.

Of the packages on PyPI, py-perf-event counts only within a call of its own process, and performance-features has to be
built against libpfm; one system call needs neither.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HARDWARE, SOFTWARE = 0, 1
"""perf_type_id."""

_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331, "loongarch64": 241}
_CLOSE_ON_EXEC = 8
_TIMES = 1 | 2
"""PERF_FORMAT_TOTAL_TIME_ENABLED and PERF_FORMAT_TOTAL_TIME_RUNNING."""
_READING = struct.Struct("QQQ")


class Attributes(ctypes.Structure):
    """struct perf_event_attr in its first version (PERF_ATTR_SIZE_VER0), which every kernel takes."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("bp_addr", ctypes.c_uint64),
    )


INHERIT = 1 << 1
EXCLUDE_KERNEL = 1 << 5
EXCLUDE_HYPERVISOR = 1 << 6
INHERIT_THREAD = 1 << 35
"""Bits of ``Attributes.flags``. The last one is Linux 5.13's: threads inherit the event, processes do not."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A count, and for how long (ns) the event was to be counted and was: fewer where events share the counters."""

    count: int
    enabled_ns: int
    running_ns: int


class Event:
    """An event that is counted on a thread, and on all threads that it starts from now on."""

    def __init__(self, kind: int, config: int, thread: int, *, user_only: bool) -> None:
        """``thread`` is the kernel's number of one, which may be of another process.

        Raises:
            OSError: the kernel doesn't count this, or not for this user.
        """
        flags = INHERIT | EXCLUDE_HYPERVISOR | (EXCLUDE_KERNEL if user_only else 0)
        try:
            self._file = _open(kind, config, flags | INHERIT_THREAD, thread)
        except OSError as error:
            if error.errno != errno.EINVAL:  # what a kernel says of a flag that it doesn't know
                raise
            self._file = _open(kind, config, flags, thread)

    def read(self) -> Reading:
        return Reading(*_READING.unpack(os.read(self._file, _READING.size)))

    def close(self) -> None:
        os.close(self._file)


def supported() -> bool:
    """Whether this is a Linux whose system call is known."""
    return sys.platform == "linux" and platform.machine() in _SYSTEM_CALLS


def threads(pid: int) -> Iterator[int]:
    """The kernel's numbers of a process's threads."""
    return (int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir())


def _open(kind: int, config: int, flags: int, thread: int) -> int:
    attributes = Attributes(type=kind, size=ctypes.sizeof(Attributes), config=config, read_format=_TIMES, flags=flags)
    # On any CPU, in no group.
    call = ctypes.CDLL(None, use_errno=True).syscall
    number = ctypes.c_long(_SYSTEM_CALLS[platform.machine()])
    file: int = call(number, ctypes.byref(attributes), thread, -1, -1, ctypes.c_ulong(_CLOSE_ON_EXEC))
    if file < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return file
