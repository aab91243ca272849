"""The measured process and the machine it runs on, through psutil; imported in the sampling process alone.

Names, units and attributes are those of OpenTelemetry's semantic conventions for processes, systems and hardware.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import psutil

from mlms.tracing.sampler import Series, Source

NAN = math.nan
SLOW_NS = 1_000_000_000
"""What takes long to read, or disturbs the processors that are read, is read so often."""

_PROC = Path("/proc")
_MINOR_FAULTS, _MAJOR_FAULTS = 7, 9
"""Positions in /proc/PID/stat (proc_pid_stat(5)) after the name, which is in brackets and may hold anything."""


class Host:
    """A ``Source`` of everything in this module."""

    def __init__(self, pid: int, device_uuid: str | None = None) -> None:
        parts: list[Source] = [Cpus(), Frequencies(), Temperatures()]
        kernel: list[Source] = (
            [PagingFaults(pid), ContextSwitches(pid)] if (_PROC / str(pid) / "stat").is_file() else []
        )
        self._parts: list[Source] = [Process(pid), *kernel, *parts]
        self.series: Sequence[Series] = list(chain.from_iterable(part.series for part in self._parts))
        self.notes: Sequence[str] = ()

    def read(self) -> Sequence[float]:
        return list(chain.from_iterable(part.read() for part in self._parts))


class Process:
    """Processor time, memory and threads of a process."""

    notes: Sequence[str] = ()
    series: Sequence[Series] = (
        Series("process.cpu.time", "s", "sum", {"cpu.mode": "user"}),
        Series("process.cpu.time", "s", "sum", {"cpu.mode": "system"}),
        Series("process.cpu.utilization", "1", "gauge"),
        Series("process.memory.usage", "By", "gauge"),
        Series("process.thread.count", "{thread}", "gauge"),
    )

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._cpus = _available(self._process)
        # The clock of another process's processor time (clock_getcpuclockid(3)). It has nanoseconds, where the times
        # in /proc have hundredths of a second.
        self._clock = (~pid << 3) | 2 if (_PROC / str(pid)).is_dir() else None
        self._before = (time.perf_counter_ns(), NAN)

    def read(self) -> Sequence[float]:
        with self._process.oneshot():
            times = self._process.cpu_times()
            memory, threads = self._process.memory_info().rss, self._process.num_threads()
        now = time.perf_counter_ns()
        used = times.user + times.system if self._clock is None else time.clock_gettime_ns(self._clock) / 1e9
        before, used_before = self._before
        self._before = now, used
        elapsed = (now - before) / 1e9
        return (times.user, times.system, (used - used_before) / elapsed / self._cpus, memory, threads)


class PagingFaults:
    """Page faults of all threads of a process, as the kernel counts them."""

    notes: Sequence[str] = ()
    series: Sequence[Series] = (
        Series("process.paging.faults", "{fault}", "sum", {"system.paging.fault.type": "minor"}),
        Series("process.paging.faults", "{fault}", "sum", {"system.paging.fault.type": "major"}),
    )

    def __init__(self, pid: int) -> None:
        self._file = _PROC / str(pid) / "stat"

    def read(self) -> Sequence[float]:
        fields = self._file.read_bytes().rpartition(b")")[2].split()
        return (int(fields[_MINOR_FAULTS]), int(fields[_MAJOR_FAULTS]))


class ContextSwitches:
    """Context switches of a process. The kernel counts them by thread; those of one that has ended stay counted."""

    notes: Sequence[str] = ()
    series: Sequence[Series] = (
        Series("process.context_switches", "{context_switch}", "sum", {"process.context_switch.type": "voluntary"}),
        Series("process.context_switches", "{context_switch}", "sum", {"process.context_switch.type": "involuntary"}),
    )

    def __init__(self, pid: int) -> None:
        self._folder = _PROC / str(pid) / "task"
        self._threads: dict[str, tuple[int, int]] = {}

    def read(self) -> Sequence[float]:
        for thread in self._folder.iterdir():
            try:
                text = (thread / "status").read_bytes()
            except OSError:  # it ended since the folder was listed
                continue
            # The last two lines are "voluntary_ctxt_switches: N" and "nonvoluntary_ctxt_switches: N".
            words = text.split()
            self._threads[thread.name] = int(words[-3]), int(words[-1])
        voluntary, involuntary = zip(*self._threads.values(), strict=True)
        return (sum(voluntary), sum(involuntary))


class Cpus:
    """The share of time that each logical CPU was busy, with anyone's work."""

    notes: Sequence[str] = ()

    def __init__(self) -> None:
        self._before = self._times()
        self.series: Sequence[Series] = [
            Series("system.cpu.utilization", "1", "gauge", {"cpu.logical_number": number})
            for number in range(len(self._before))
        ]

    def read(self) -> Sequence[float]:
        times = self._times()
        spent = [
            (busy - busy_before, total - total_before)
            for (busy, total), (busy_before, total_before) in zip(times, self._before, strict=True)
        ]
        self._before = times
        return [min(max(busy / total, 0.0), 1.0) if total > 0 else NAN for busy, total in spent]

    @staticmethod
    def _times() -> list[tuple[float, float]]:
        """Seconds busy, and in all, of each CPU since the system started."""
        found = []
        for cpu in psutil.cpu_times(percpu=True):
            spent = cpu._asdict()
            # A guest's time is in user and nice already.
            total = sum(value for mode, value in spent.items() if not mode.startswith("guest"))
            found.append((total - spent["idle"] - spent.get("iowait", 0.0), total))
        return found


class Slow:
    """Figures that are read every ``SLOW_NS`` only; ``series`` and ``_values`` are a subclass's."""

    notes: Sequence[str] = ()
    series: Sequence[Series]

    def __init__(self) -> None:
        self._due = 0

    def read(self) -> Sequence[float]:
        now = time.perf_counter_ns()
        if now < self._due:
            return [NAN] * len(self.series)
        self._due = now + SLOW_NS
        values = self._values()
        # A CPU or sensor that went away, or came, leaves no way to tell which is which.
        return values if len(values) == len(self.series) else [NAN] * len(self.series)

    def _values(self) -> list[float]:
        raise NotImplementedError


class Frequencies(Slow):
    """The frequency of each logical CPU, where the system tells. Asking for it interrupts the CPUs that are busy."""

    def __init__(self) -> None:
        super().__init__()
        self.series = [
            Series("system.cpu.frequency", "Hz", "gauge", {"cpu.logical_number": number})
            for number in range(len(self._values()))
        ]

    def _values(self) -> list[float]:
        try:
            return [cpu.current * 1e6 for cpu in psutil.cpu_freq(percpu=True) or ()]
        except (OSError, NotImplementedError, AttributeError, RuntimeError):  # as systems without it have it
            return []


class Temperatures(Slow):
    """The temperature of each sensor that the system has."""

    def __init__(self) -> None:
        super().__init__()
        self.series = [
            Series("hw.temperature", "Cel", "gauge", {"hw.id": f"{chip}/{index}", "hw.name": sensor.label or chip})
            for chip, sensors in self._sensors().items()
            for index, sensor in enumerate(sensors)
        ]

    @staticmethod
    def _sensors() -> Mapping[str, Sequence[Any]]:
        return psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}

    def _values(self) -> list[float]:
        return [sensor.current for sensors in self._sensors().values() for sensor in sensors]


def _available(process: psutil.Process) -> int:
    """Logical CPUs that the process may run on."""
    if hasattr(process, "cpu_affinity"):
        return len(process.cpu_affinity()) or 1
    return psutil.cpu_count() or 1
