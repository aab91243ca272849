"""What a process takes of the machine, as the kernel counts it, with the worker that runs its model where there is
one."""

from __future__ import annotations

import re
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_MINOR_FAULTS, _MAJOR_FAULTS = 7, 9
"""Positions in /proc/PID/stat (proc_pid_stat(5)) after the name, which is in brackets and may hold anything."""
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time in seconds, of user and system, all threads; page faults, of which ``major_faults`` read a disk."""

    cpu_s: float
    minor_faults: int
    major_faults: int

    def since(self, before: Usage) -> Usage:
        return Usage(
            self.cpu_s - before.cpu_s,
            self.minor_faults - before.minor_faults,
            self.major_faults - before.major_faults,
        )

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.cpu_s + other.cpu_s, self.minor_faults + other.minor_faults, self.major_faults + other.major_faults
        )


def usage(worker: int | None = None) -> Usage:
    """Of this process, and of ``worker`` (a process id), since they started."""
    counted = resource.getrusage(resource.RUSAGE_SELF)
    ours = Usage(counted.ru_utime + counted.ru_stime, counted.ru_minflt, counted.ru_majflt)
    return ours if worker is None else ours + _usage_of(worker)


def reset_peak_rss() -> None:
    """Let the peak start again from what is resident now, where the kernel can do that (proc(5), clear_refs)."""
    with suppress(OSError):
        (_PROC / "self" / "clear_refs").write_text("5")


def peak_rss(worker: int | None = None) -> int:
    """The most memory that was resident, in bytes, since ``reset_peak_rss`` or, where that can't be, the start.

    Of a process and its worker it is the sum, though the two peaks need not have been at one time.
    """
    ours = _peak_of("self")
    if ours is None:
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
    return ours if worker is None else ours + (_peak_of(worker) or 0)


def _peak_of(process: int | str) -> int | None:
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (_PROC / str(process) / "status").read_text("ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return None


def _usage_of(process: int) -> Usage:
    """Of another process; nothing once it is gone."""
    import psutil

    with suppress(OSError, psutil.Error):
        times = psutil.Process(process).cpu_times()
        cpu_s, minor, major = times.user + times.system, 0, 0
        stat = _PROC / str(process) / "stat"
        if stat.is_file():
            # Its clock of processor time (clock_getcpuclockid(3)) has nanoseconds, where /proc has only hundredths.
            cpu_s = time.clock_gettime_ns((~process << 3) | 2) / 1e9
            fields = stat.read_bytes().rpartition(b")")[2].split()
            minor, major = int(fields[_MINOR_FAULTS]), int(fields[_MAJOR_FAULTS])
        return Usage(cpu_s, minor, major)
    return Usage(0.0, 0, 0)
