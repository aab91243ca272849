"""What about this machine, at this moment, bears on how steady a measurement is. None where it isn't told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlms.runs.environment import control_groups, cpu_quota

SYS = Path("/sys")


@dataclass(frozen=True, slots=True)
class Throttling:
    """Counters that grow when the machine slows down: periods cut short by a CPU quota, and events of heat."""

    quota: int | None
    thermal: int | None

    def since(self, before: Throttling) -> int | None:
        """How often it happened from ``before`` to now."""
        pairs = ((self.quota, before.quota), (self.thermal, before.thermal))
        rises = [now - then for now, then in pairs if now is not None and then is not None]
        return sum(rises) if rises else None


def describe_hygiene() -> dict[str, Any]:
    """Affinity and NUMA nodes of this process, governor, turbo, SMT, load averages (1, 5, 15 minutes), CPU quota."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {
        "affinity": ranges(cpus) if cpus else None,
        "numa_nodes": numa_nodes(cpus),
        "governor": governor(cpus),
        "turbo": turbo(),
        "smt": smt(),
        "load_average": list(os.getloadavg()),
        "cgroup_quota": cpu_quota(),
    }


def throttling(root: Path = SYS) -> Throttling:
    """The counters now; heat is counted over all cores."""
    quota = next((count for group in control_groups() if (count := _throttled_periods(group)) is not None), None)
    cores = root.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
    thermal = [int(text) for file in cores if (text := _read(file)) is not None]
    return Throttling(quota, sum(thermal) if thermal else None)


def numa_nodes(cpus: Iterable[int], root: Path = SYS) -> list[int] | None:
    """The nodes that have any of the CPUs."""
    nodes = []
    for folder in root.glob("devices/system/node/node[0-9]*"):
        if set(cpus) & set(members(_read(folder / "cpulist") or "")):
            nodes.append(int(folder.name.removeprefix("node")))
    return sorted(nodes) or None


def governor(cpus: Iterable[int], root: Path = SYS) -> str | None:
    """The governors of the CPUs' frequencies, all of them if they differ."""
    files = (root / f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor" for cpu in cpus)
    return ", ".join(sorted({text for file in files if (text := _read(file))})) or None


def turbo(root: Path = SYS) -> bool | None:
    """Whether cores may run above their nominal frequency."""
    if (off := _read(root / "devices/system/cpu/intel_pstate/no_turbo")) is not None:
        return off == "0"
    on = _read(root / "devices/system/cpu/cpufreq/boost")
    return None if on is None else on == "1"


def smt(root: Path = SYS) -> bool | None:
    """Whether cores run two threads at a time."""
    active = _read(root / "devices/system/cpu/smt/active")
    return None if active is None else active == "1"


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in the kernel's list format.

    >>> ranges([0, 1, 2, 5])
    '0-2,5'
    """
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def members(text: str) -> list[int]:
    """Numbers from the kernel's list format.

    >>> members("0-2,5")
    [0, 1, 2, 5]
    """
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _throttled_periods(group: Path) -> int | None:
    for line in (_read(group / "cpu.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "nr_throttled":
            return int(value)
    return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
