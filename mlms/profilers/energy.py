"""Energy and device memory over a window, from a sampler's file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

NEEDED_SAMPLES = 20
"""A window with fewer says more of the counters' own update interval than of the work."""


@dataclass(frozen=True, slots=True)
class Energy:
    """``joules`` of the window, what the idle machine takes included; None with fewer than 20 samples in it.

    ``idle_watts`` is the power in the idle window, None likewise. ``used_bytes`` is the most device memory in use in
    any sample, by all processes.
    """

    source: str
    joules: float | None
    idle_watts: float | None
    samples: int
    used_bytes: int | None


def read_energy(file: Path, window: tuple[int, int], idle: tuple[int, int], device: str | None) -> Energy | None:
    """Windows are from start to end in ns of ``time.monotonic_ns``; ``device`` is the GPU's UUID, if one was used.

    Counted are RAPL's domains and that GPU. None where none of them was sampled.
    """
    head, *rows = (json.loads(line) for line in file.read_text("ascii").splitlines())
    names: list[str] = head["meters"]
    chosen = [index for index, name in enumerate(names) if not name.startswith("GPU-") or name == device]
    if not chosen or not rows:
        return None
    table = np.array(rows, dtype=np.float64)
    times = np.array([row[0] for row in rows], dtype=np.int64)
    total = np.sum([_unwrapped(table[:, 1 + index], head["wraps_at"][index]) for index in chosen], axis=0)
    inside = (times >= window[0]) & (times <= window[1])
    used = None
    if device in head["memory"] and inside.any():
        used = int(table[inside, 1 + len(names) + head["memory"].index(device)].max())
    joules, samples = _between(times, total, window)
    spent, _ = _between(times, total, idle)
    idle_watts = None if spent is None else spent / (idle[1] - idle[0]) * 1e9
    source = " + ".join(
        "NVML " + names[index] if names[index] == device else "RAPL " + names[index] for index in chosen
    )
    return Energy(source, joules, idle_watts, samples, used)


def _between(
    times: npt.NDArray[np.int64], total: npt.NDArray[np.float64], window: tuple[int, int]
) -> tuple[float | None, int]:
    samples = int(((times >= window[0]) & (times <= window[1])).sum())
    if samples < NEEDED_SAMPLES:
        return None, samples
    # Relative to the first time: nanoseconds since boot are more than a float tells apart.
    start, end = np.interp([window[0] - times[0], window[1] - times[0]], times - times[0], total)
    return float(end - start), samples


def _unwrapped(joules: npt.NDArray[np.float64], wraps_at: float | None) -> npt.NDArray[np.float64]:
    if wraps_at is None:
        return joules
    falls = np.concatenate([[0], np.cumsum(np.diff(joules) < 0)])
    return joules + falls * wraps_at
