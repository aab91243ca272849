"""What NVIDIA's driver says of its GPUs; knows nothing of ONNX Runtime."""

from __future__ import annotations

import ctypes
import sys
import uuid


def count() -> int:
    """GPUs that this process may use; 0 without a driver."""
    driver = _driver()
    number = ctypes.c_int()
    return number.value if driver is not None and driver.cuDeviceGetCount(ctypes.byref(number)) == 0 else 0


def device_uuid(index: int) -> str | None:
    """ "GPU-...", as nvidia-smi names it."""
    driver = _driver()
    device, found = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetUuid(found, device):
        return None
    return f"GPU-{uuid.UUID(bytes=bytes(found))}"


def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None
