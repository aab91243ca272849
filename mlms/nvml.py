"""The figures of NVIDIA's management library that runs need, without a package for it; it knows nothing of mlms."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
_TEXT_LENGTH = 96
_TEMPERATURE_GPU = 0
_CLOCKS = {"sm": 1, "memory": 2}
"""nvmlClockType_t."""
SLOWDOWNS = {
    "sw_power_cap": 0x04,
    "hw_slowdown": 0x08,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
}
"""Bits of nvmlClocksThrottleReasons that say that the GPU is held back; the others say why it need not be fast."""


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; ``uuid`` is "GPU-..." as CUDA names it too. A figure that it doesn't have is None."""

    uuid: str
    _library: ctypes.CDLL
    _handle: ctypes.c_void_p

    def name(self) -> str | None:
        """As NVIDIA calls it: "NVIDIA H100 80GB HBM3"."""
        text = ctypes.create_string_buffer(_TEXT_LENGTH)
        if self._library.nvmlDeviceGetName(self._handle, text, _TEXT_LENGTH):
            return None
        return text.value.decode("utf-8", "replace")

    def joules(self) -> float | None:
        """Energy taken since the driver was loaded; None before the Volta generation, which doesn't count it."""
        found = self._read("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong())
        return None if found is None else found.value / 1000

    def watts(self) -> float | None:
        """Power now, or averaged over a second, by generation."""
        found = self._read("nvmlDeviceGetPowerUsage", ctypes.c_uint())
        return None if found is None else found.value / 1000

    def busy_percent(self) -> int | None:
        """Share of the last moment (up to a second) in which a kernel ran, of any process."""
        rates = self._read("nvmlDeviceGetUtilizationRates", _Utilization())
        return None if rates is None else rates.gpu

    def used_bytes(self) -> int | None:
        """Memory in use, by all processes."""
        memory = self._read("nvmlDeviceGetMemoryInfo", _Memory())
        return None if memory is None else memory.used

    def total_bytes(self) -> int | None:
        """Memory that there is."""
        memory = self._read("nvmlDeviceGetMemoryInfo", _Memory())
        return None if memory is None else memory.total

    def celsius(self) -> int | None:
        """Temperature of the GPU's die."""
        found = ctypes.c_uint()
        if self._library.nvmlDeviceGetTemperature(self._handle, _TEMPERATURE_GPU, ctypes.byref(found)):
            return None
        return found.value

    def hertz(self, clock: str) -> int | None:
        """Frequency of a clock, "sm" or "memory"."""
        found = ctypes.c_uint()
        if self._library.nvmlDeviceGetClockInfo(self._handle, _CLOCKS[clock], ctypes.byref(found)):
            return None
        return found.value * 1_000_000

    def slowdowns(self) -> int | None:
        """What holds the clocks back now: bits of ``SLOWDOWNS``, and others."""
        found = self._read("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong())
        return None if found is None else found.value

    def _read(self, function: str, into: Any) -> Any:
        """What a function of the library writes ``into``, None where it says that it can't."""
        return None if getattr(self._library, function)(self._handle, ctypes.byref(into)) else into


def gpus() -> tuple[Gpu, ...]:
    """All GPUs of this machine; none where the library isn't there or doesn't start."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return ()
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return ()
    found = []
    for index in range(count.value):
        handle, uuid = ctypes.c_void_p(), ctypes.create_string_buffer(_TEXT_LENGTH)
        if not library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) and not library.nvmlDeviceGetUUID(
            handle, uuid, _TEXT_LENGTH
        ):
            found.append(Gpu(uuid.value.decode("ascii"), library, handle))
    return tuple(found)
