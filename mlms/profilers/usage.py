"""What a process takes of the machine, as the kernel counts it."""

from __future__ import annotations

import re
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SELF = Path("/proc/self")
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


def usage() -> Usage:
    """Of this process, since it started."""
    counted = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(counted.ru_utime + counted.ru_stime, counted.ru_minflt, counted.ru_majflt)


def reset_peak_rss() -> None:
    """Let the peak start again from what is resident now, where the kernel can do that (proc(5), clear_refs)."""
    with suppress(OSError):
        (_SELF / "clear_refs").write_text("5")


def peak_rss() -> int:
    """The most memory that was resident, in bytes, since ``reset_peak_rss`` or, where that can't be, the start."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (_SELF / "status").read_text("ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES
