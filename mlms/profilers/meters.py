"""Counters of energy that this machine has: RAPL's domains and NVIDIA's GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlms.nvml import gpus

POWERCAP = Path("/sys/class/powercap")
_COUNTED = ("package", "dram")
"""RAPL's domains that don't overlap: cores are part of their package, "psys" of all."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A counter. ``joules`` reads it; it begins again from 0 after ``wraps_at`` joules (None: never)."""

    name: str
    joules: Callable[[], float | None]
    wraps_at: float | None = None
    used_bytes: Callable[[], int | None] | None = None
    """Memory of the device in use, where it has any."""


def meters(powercap: Path = POWERCAP) -> tuple[Meter, ...]:
    """All that can be read now. RAPL is often for root alone to read (CVE-2020-8694)."""
    found = [*_rapl(powercap), *(Meter(gpu.uuid, gpu.joules, used_bytes=gpu.used_bytes) for gpu in gpus())]
    return tuple(meter for meter in found if meter.joules() is not None)


def _rapl(powercap: Path) -> Iterator[Meter]:
    for folder in sorted(powercap.glob("intel-rapl:*")):
        counter = folder / "energy_uj"
        try:
            name = (folder / "name").read_text("ascii").strip()
            wraps_at = int((folder / "max_energy_range_uj").read_text("ascii")) / 1e6
        except (OSError, ValueError):
            continue
        if name.startswith(_COUNTED):
            yield Meter(f"{name} ({folder.name})", lambda counter=counter: _joules(counter), wraps_at)  # type: ignore[misc]


def _joules(counter: Path) -> float | None:
    try:
        return int(counter.read_text("ascii")) / 1e6
    except (OSError, ValueError):
        return None
