"""The few figures of NVIDIA's management library that a run needs, without a package for it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_LIBRARY = "libnvidia-ml.so.1"
_UUID_LENGTH = 96


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; ``uuid`` is "GPU-..." as CUDA names it too."""

    uuid: str
    _library: ctypes.CDLL
    _handle: ctypes.c_void_p

    def joules(self) -> float | None:
        """Energy taken since the driver was loaded; None before the Volta generation, which doesn't count it."""
        value = ctypes.c_ulonglong()
        if self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(value)):
            return None
        return value.value / 1000

    def busy_percent(self) -> int | None:
        """Share of the last moment (up to a second) in which a kernel ran, of any process."""
        rates = _Utilization()
        return None if self._library.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(rates)) else rates.gpu

    def used_bytes(self) -> int | None:
        """Memory in use, by all processes."""
        memory = _Memory()
        return None if self._library.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory)) else memory.used


def gpus() -> tuple[Gpu, ...]:
    """All GPUs of this machine; none where the library isn't there or doesn't start."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return ()
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return ()
    found = []
    for index in range(count.value):
        handle, uuid = ctypes.c_void_p(), ctypes.create_string_buffer(_UUID_LENGTH)
        if not library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) and not library.nvmlDeviceGetUUID(
            handle, uuid, _UUID_LENGTH
        ):
            found.append(Gpu(uuid.value.decode("ascii"), library, handle))
    return tuple(found)
