"""NVIDIA GPUs, through NVML; imported in the sampling process alone.

Names, units and attributes are those of OpenTelemetry's semantic conventions for hardware, ``mlms.*`` where there are
none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain

from mlms import nvml
from mlms.tracing.sampler import Series

Reading = tuple[Series, Callable[[], float | None]]


class Gpus:
    """A ``Source`` of the GPU with the UUID ``device_uuid``; of all GPUs where the model is on none of them."""

    def __init__(self, pid: int, device_uuid: str | None = None) -> None:
        there = nvml.gpus()
        chosen = [gpu for gpu in there if gpu.uuid == device_uuid] or there
        readings = chain.from_iterable(map(_readings, chosen))
        self._readings = [(series, read) for series, read in readings if read() is not None]
        self._slowdowns = [gpu for gpu in chosen if gpu.slowdowns() is not None]
        held = [_slowdown(gpu, reason) for gpu in self._slowdowns for reason in nvml.SLOWDOWNS]
        self.series: Sequence[Series] = [*(series for series, _ in self._readings), *held]
        missing = f"off, since NVML ({nvml.LIBRARY}) finds no NVIDIA GPU: install NVIDIA's driver where there is one"
        self.notes: Sequence[str] = () if there else (missing,)

    def read(self) -> Sequence[float]:
        values = [math.nan if (value := read()) is None else value for _, read in self._readings]
        for gpu in self._slowdowns:
            bits = gpu.slowdowns()
            values += [math.nan if bits is None else float(bool(bits & bit)) for bit in nvml.SLOWDOWNS.values()]
        return values


def _readings(gpu: nvml.Gpu) -> list[Reading]:
    about = {"hw.id": gpu.uuid, "hw.name": gpu.name() or "", "hw.type": "gpu"}

    def share() -> float | None:
        percent = gpu.busy_percent()
        return None if percent is None else percent / 100

    return [
        (Series("hw.gpu.utilization", "1", "gauge", about), share),
        (Series("hw.gpu.memory.usage", "By", "gauge", about), gpu.used_bytes),
        (Series("hw.gpu.memory.limit", "By", "gauge", about), gpu.total_bytes),
        (Series("hw.power", "W", "gauge", about), gpu.watts),
        (Series("hw.energy", "J", "sum", about), gpu.joules),
        (Series("hw.temperature", "Cel", "gauge", about), gpu.celsius),
        (Series("mlms.gpu.clock", "Hz", "gauge", {**about, "mlms.gpu.clock.type": "sm"}), lambda: gpu.hertz("sm")),
        (
            Series("mlms.gpu.clock", "Hz", "gauge", {**about, "mlms.gpu.clock.type": "memory"}),
            lambda: gpu.hertz("memory"),
        ),
    ]


def _slowdown(gpu: nvml.Gpu, reason: str) -> Series:
    """1 while the GPU is held back for that reason, else 0."""
    about = {"hw.id": gpu.uuid, "hw.name": gpu.name() or "", "hw.type": "gpu", "mlms.gpu.slowdown.reason": reason}
    return Series("mlms.gpu.slowdown", "1", "gauge", about)
