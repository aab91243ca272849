"""What on this machine will make figures noisy, and what to do about each: ``mlms doctor --measure``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from mlms.nvml import gpus
from mlms.runs.environment import cpu_quota
from mlms.runs.hygiene import governor, numa_nodes, ranges, smt, throttling, turbo

WATCHED_S = 1.0
MOST_LOAD, MOST_STEAL = 0.05, 0.01
"""Shares of all CPUs' time."""
FEW_CPUS = 4
NEAR_LIMIT_C = 10.0

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Finding:
    """One source of noise; ``quiet`` is None where the machine doesn't tell, ``mend`` "" unless it is False."""

    name: str
    quiet: bool | None
    detail: str
    mend: str = ""


def find_noise(seconds: float = WATCHED_S) -> list[Finding]:
    """Look at the machine for ``seconds``, during which this process sleeps."""
    return [*_activity(seconds), *_settings(), *_limits()]


def _activity(seconds: float) -> Iterator[Finding]:
    """What goes on now: others' load, time that a hypervisor took, slowing down, swapping, GPUs at work."""
    times, throttled, swapped = psutil.cpu_times(), throttling(), _swapped()
    time.sleep(seconds)
    later = psutil.cpu_times()
    spent = {name: getattr(later, name) - getattr(times, name) for name in later._fields if "guest" not in name}
    total = sum(spent.values()) or 1.0
    steal = spent.get("steal", 0.0) / total
    load = 1 - (spent["idle"] + spent.get("iowait", 0.0)) / total - steal
    yield _finding(
        "other load",
        load <= MOST_LOAD,
        f"{load:.1%} of {psutil.cpu_count()} CPUs busy while mlms slept",
        "end other work, or measure where there is none; 'mlms eval --interleave --repeat N' lets it hit all alike",
    )
    virtual = _virtual()
    yield _finding(
        "virtualisation",
        steal <= MOST_STEAL and not virtual,
        f"{'a virtual machine' if virtual else 'no hypervisor seen'}, {steal:.1%} of the time taken by its host",
        "prefer bare metal or a dedicated host; else repeat, interleave, and compare only runs of one machine",
    )
    rises = throttling().since(throttled)
    yield _finding(
        "throttling",
        None if rises is None else rises == 0,
        "no counters" if rises is None else f"{rises} events in {seconds:g} s",
        "cool the machine, lower its load, or lift the CPU quota",
    )
    memory, moved = psutil.swap_memory(), _swapped() - swapped
    yield _finding(
        "swap",
        not moved and not memory.used,
        f"{memory.used / 2**20:,.0f} MiB in use, {moved:,} bytes moved in {seconds:g} s",
        "free memory, or turn swap off (swapoff -a), so that no query waits for a disk",
    )
    busy = [percent for gpu in gpus() if (percent := gpu.busy_percent()) is not None]
    if busy:
        text = ", ".join(f"{percent} %" for percent in busy)
        yield _finding("GPU load", max(busy) == 0, f"busy: {text}", "end other processes on the GPU (nvidia-smi)")


def _settings() -> Iterator[Finding]:
    """How the processors are set: frequencies, hardware threads, NUMA."""
    cpus = _cpus()
    scaling, boost = governor(cpus), turbo()
    yield _finding(
        "frequency scaling",
        None if scaling is None else scaling == "performance",
        f"governor {scaling or 'not visible'}",
        "cpupower frequency-set --governor performance",
    )
    yield _finding(
        "turbo",
        None if boost is None else not boost,
        {None: "not visible", True: "on", False: "off"}[boost],
        "clocks follow heat and load: turn it off (no_turbo or boost below /sys/devices/system/cpu)",
    )
    threads = smt()
    yield _finding(
        "SMT",
        None if threads is None else not threads,
        {None: "not visible", True: "on", False: "off"}[threads],
        "neighbours share a core: pin to one thread of each (taskset), or turn it off (/sys/devices/system/cpu/smt)",
    )
    nodes = numa_nodes(cpus)
    yield _finding(
        "NUMA",
        None if nodes is None else len(nodes) == 1,
        "not visible" if nodes is None else f"nodes {ranges(nodes)} for CPUs {ranges(cpus)}",
        "stay on one node: numactl --cpunodebind=0 --membind=0 mlms eval ...",
    )


def _limits() -> Iterator[Finding]:
    """How much there is: CPUs, a quota on them, degrees to the thermal limit."""
    quota, available = cpu_quota(), len(_cpus())
    usable = min(available, quota or available)
    yield _finding(
        "CPUs",
        usable >= FEW_CPUS,
        f"{usable:g} to run on",
        "the load generator, the model's threads and the system share them: set 'threads' to leave one free",
    )
    yield _finding(
        "CPU quota",
        quota is None,
        "none" if quota is None else f"{quota:g} CPUs' worth of time",
        "a process over it stands still for the rest of each period: give the container whole CPUs (a cpuset) instead",
    )
    hottest = min(_headroom(), default=None)
    yield _finding(
        "heat",
        None if hottest is None else hottest > NEAR_LIMIT_C,
        "not visible" if hottest is None else f"{hottest:.0f} °C below the limit",
        "wait until the machine has cooled, or cool it better",
    )


def _finding(name: str, quiet: bool | None, detail: str, mend: str) -> Finding:
    return Finding(name, quiet, detail, mend if quiet is False else "")


def _cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))


def _swapped() -> int:
    """Bytes moved to and from disk since the system started."""
    memory = psutil.swap_memory()
    return memory.sin + memory.sout


def _virtual() -> bool:
    """Whether a hypervisor says that it is one (the processor's flag of that name)."""
    try:
        text = _CPUINFO.read_text("utf-8")
    except OSError:
        return False
    return any(line.startswith("flags") and " hypervisor" in line for line in text.splitlines())


def _headroom() -> Iterator[float]:
    """Degrees that each sensor is below its high mark."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    for readings in sensors.values():
        yield from (reading.high - reading.current for reading in readings if reading.high)
