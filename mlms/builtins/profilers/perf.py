"""Perf events of the measured process, counted by the kernel; imported in the sampling process alone.

The sampling process opens them on the threads of the other, so nothing runs there. Threads that are started later
inherit them.
"""

from __future__ import annotations

import errno
import platform
import resource
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlms.builtins.profilers.perf_events import HARDWARE, SOFTWARE, Event, Reading, supported, threads
from mlms.tracing.sampler import Series

_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_REFUSED = (errno.EACCES, errno.EPERM)
_GONE = errno.ESRCH


@dataclass(frozen=True, slots=True)
class Kind:
    """An event by its name in mlms: ``type`` and ``config`` are the kernel's, ``scale`` makes its unit of a count."""

    name: str
    unit: str
    type: int
    config: int
    scale: float = 1.0


KINDS = (
    Kind("mlms.perf.cycles", "{cycle}", HARDWARE, 0),
    Kind("mlms.perf.instructions", "{instruction}", HARDWARE, 1),
    Kind("mlms.perf.cache_references", "{reference}", HARDWARE, 2),
    Kind("mlms.perf.cache_misses", "{miss}", HARDWARE, 3),
    Kind("mlms.perf.branches", "{branch}", HARDWARE, 4),
    Kind("mlms.perf.branch_misses", "{miss}", HARDWARE, 5),
    Kind("mlms.perf.task_clock", "s", SOFTWARE, 1, 1e-9),
    Kind("mlms.perf.page_faults", "{fault}", SOFTWARE, 2),
    Kind("mlms.perf.cpu_migrations", "{migration}", SOFTWARE, 4),
)


class Perf:
    """A ``Source`` of the events in ``KINDS`` that the kernel counts."""

    def __init__(self, pid: int, device_uuid: str | None = None) -> None:
        self.series: Sequence[Series] = []
        self.notes: Sequence[str] = []
        self._counts: list[tuple[Kind, list[Count]]] = []
        if not supported():
            self.notes = [f"off, since perf events are Linux's ({platform.system()} on {platform.machine()} here)"]
            return
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(ValueError, OSError):  # a system that keeps the limit: then opening says so
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        failures: dict[int, list[str]] = {}
        user_only = False
        for kind in KINDS:
            try:
                try:
                    counts = _open(kind, pid, user_only)
                except OSError as error:
                    if error.errno not in _REFUSED or user_only:
                        raise
                    counts, user_only = _open(kind, pid, True), True
            except OSError as error:
                failures.setdefault(error.errno or 0, []).append(kind.name.rpartition(".")[2])
            else:
                self._counts.append((kind, counts))
        mode = {"cpu.mode": "user"} if user_only else {}
        self.series = [Series(kind.name, kind.unit, "sum", mode) for kind, _ in self._counts]
        self.notes = [_note(code, names, bool(self._counts)) for code, names in failures.items()]

    def read(self) -> Sequence[float]:
        return [kind.scale * sum(count.read() for count in counts) for kind, counts in self._counts]


class Count:
    """An event's count on one thread and those that it starts, scaled to the whole time, as perf-stat(1) does it.

    Where more events are asked for than the processor has counters, the kernel takes turns. What was counted between
    two readings then stands for the whole time between them; scaled so, the count never falls.
    """

    def __init__(self, event: Event) -> None:
        self._event = event
        self._total = 0.0
        self._before = Reading(0, 0, 0)

    def read(self) -> float:
        self.advance(self._event.read())
        return self._total

    def advance(self, now: Reading) -> float:
        """Add what was counted since the last reading in which the event had its turn."""
        before = self._before
        if now.running_ns > before.running_ns:
            share = (now.enabled_ns - before.enabled_ns) / (now.running_ns - before.running_ns)
            self._total += (now.count - before.count) * share
            self._before = now
        return self._total


def _open(kind: Kind, pid: int, user_only: bool) -> list[Count]:
    """The event on each thread of a process.

    Raises:
        OSError: the kernel doesn't count it; none is left open.
    """
    opened: list[Event] = []
    try:
        for thread in threads(pid):
            try:
                opened.append(Event(kind.type, kind.config, thread, user_only=user_only))
            except OSError as error:
                if error.errno != _GONE:
                    raise
    except OSError:
        for event in opened:
            event.close()
        raise
    return [Count(event) for event in opened]


def _note(code: int, names: Sequence[str], some: bool) -> str:
    """What is missing, why, and the mend."""
    what = f"no {', '.join(names)}" if some else "off"
    if code in _REFUSED:
        level = _PARANOID.read_text("ascii").strip() if _PARANOID.is_file() else "unknown"
        return (
            f"{what}, since the kernel refuses perf events (perf_event_paranoid is {level}): as root, sysctl "
            "kernel.perf_event_paranoid=2; in a container, add the capability PERFMON or a seccomp profile that allows "
            "perf_event_open"
        )
    if code in (errno.EMFILE, errno.ENFILE):
        return f"{what}, since there are too many threads for the limit on open files: raise it (ulimit -n)"
    if code == errno.ENOSYS:
        return f"{what}, since this kernel has no perf events: use one that is built with CONFIG_PERF_EVENTS"
    reason = errno.errorcode.get(code, str(code))
    return (
        f"{what}, since the processor's counters are not there ({reason}): give the virtual machine a virtual PMU, or "
        "use bare metal"
    )
