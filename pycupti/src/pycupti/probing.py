"""What this machine offers: driver, devices, libcupti, metrics; found out without risking the caller's process."""

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pycupti import _child, library
from pycupti.errors import Unavailable

#: First API version whose libcupti has the Range Profiler and Profiler Host (CUDA 12.6).
METRICS_API = 24
#: First API version that can be finalised where there are CUDA graphs (CUDA 12.6); before, that crashed.
FINALIZE_API = 24


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found. `problem` is empty where tracing works; `hint` says the mend."""

    driver_found: bool
    driver_result: int
    driver_version: int
    devices: tuple[str, ...]
    libcupti: str | None
    api_version: int
    others_loaded: tuple[str, ...]
    problem: str
    hint: str

    @property
    def tracing(self) -> bool:
        """Whether activity can be traced."""
        return not self.problem

    @property
    def metrics(self) -> bool:
        """Whether this libcupti has the metric APIs; whether counters are permitted shows when they are opened."""
        return self.tracing and self.api_version >= METRICS_API

    @property
    def finalizable(self) -> bool:
        """Whether `Tracer(finalize=True)` is safe also where there are CUDA graphs."""
        return self.tracing and self.api_version >= FINALIZE_API


def steps(libcuda: str, libcupti: str | None) -> Iterator[tuple[str, Any]]:
    """Probe in this process, one step after the other; each is yielded before the next, which may be fatal."""
    module = library.core()
    ffi, lib = module.ffi, module.lib
    driver = ffi.new("pcu_driver *")
    yield "trying", "the CUDA driver"
    lib.pcu_driver_probe(libcuda.encode(), driver)
    works = bool(driver.found) and driver.result == 0 and driver.devices > 0
    names = []
    for index in range(driver.devices if works else 0):
        name = ffi.new("char[256]")
        lib.pcu_device_name(index, name, 256)
        names.append(ffi.string(name).decode())
    yield (
        "driver",
        {
            "found": bool(driver.found),
            "result": driver.result,
            "version": driver.version,
            "message": ffi.string(driver.message).decode(errors="replace"),
            "devices": names,
        },
    )
    if libcupti is None:
        return
    yield "trying", f"loading {libcupti}"
    message = ffi.new("char[1024]")
    opened = lib.pcu_cupti_open(libcupti.encode(), message, 1024) == 0
    yield "opened", {"ok": opened, "message": ffi.string(message).decode(errors="replace")}
    if not (opened and works):
        return  # some versions recurse until they crash when called without a driver
    yield "trying", f"asking {libcupti} for its version"
    version = ffi.new("uint32_t *")
    result = lib.pcu_cupti_version(version)
    yield "version", {"result": result, "api": version[0]}


def _death(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def _judge(outcome: _child.Outcome, libcupti: str | None) -> tuple[str, str]:
    found = outcome.steps
    driver = found.get("driver", {})
    if outcome.status != 0:
        doing = found.get("trying", "starting")
        return (
            f"{doing} crashed ({_death(outcome.status)})",
            "install another CUPTI, or point PYCUPTI_LIBCUPTI at one that fits the driver"
            if driver
            else "reinstall the NVIDIA driver",
        )
    if not driver["found"]:
        return f"no CUDA driver: {driver['message']}", "install the NVIDIA driver; without one nothing can be traced"
    if driver["result"] != 0 or not driver["devices"]:
        reason = driver["message"] or (
            "it sees no device" if driver["result"] == 0 else f"it answered {driver['result']}"
        )
        return f"the CUDA driver doesn't work: {reason}", "look at `nvidia-smi`, and at CUDA_VISIBLE_DEVICES"
    if libcupti is None:
        return "no libcupti found", "pip install nvidia-cuda-cupti, or set PYCUPTI_LIBCUPTI to its path"
    if not found["opened"]["ok"]:
        return f"libcupti can't be loaded: {found['opened']['message']}", "set PYCUPTI_LIBCUPTI to one that can"
    if found["version"]["result"] != 0:
        return (
            f"{libcupti} answers {found['version']['result']} when asked for its version",
            "update the NVIDIA driver, or use the libcupti of the CUDA version that it supports",
        )
    return "", ""


@lru_cache(maxsize=8)
def _probe(libcupti: str | None, libcuda: str, others: tuple[str, ...]) -> Probe:
    outcome = _child.run("probe", {"libcuda": libcuda, "libcupti": libcupti})
    problem, hint = _judge(outcome, libcupti)
    driver = outcome.steps.get("driver", {})
    return Probe(
        driver_found=driver.get("found", False),
        driver_result=driver.get("result", 0),
        driver_version=driver.get("version", 0),
        devices=tuple(driver.get("devices", ())),
        libcupti=libcupti,
        api_version=outcome.steps.get("version", {}).get("api", 0),
        others_loaded=others,
        problem=problem,
        hint=hint,
    )


def probe() -> Probe:
    """Find out what can be traced here, in a subprocess, so that no broken library can hurt this one. Kept once found.

    Never raises for what the machine lacks: that is in `problem` and `hint`.
    """
    try:
        path, present = library.find(), library.loaded()
    except Unavailable as error:
        return Probe(False, 0, 0, (), None, 0, (), error.message, error.hint)
    if not sys.executable:
        return Probe(False, 0, 0, (), path, 0, present[1:], "no Python interpreter to probe with", "")
    return _probe(path, library.libcuda(), present[1:])


def open_cupti() -> int:
    """Open libcupti in this process once it is proven safe, and return its API version.

    Raises Unavailable with the reason.
    """
    module = library.core()
    found = probe()
    if found.problem:
        raise Unavailable(found.problem, found.hint)
    driver = module.ffi.new("pcu_driver *")
    module.lib.pcu_driver_probe(library.libcuda().encode(), driver)
    if driver.result != 0 or driver.devices == 0:
        raise Unavailable(
            f"the CUDA driver works in a fresh process but answers {driver.result} in this one",
            "start processes with `spawn` rather than `fork` once CUDA is in use",
        )
    message = module.ffi.new("char[1024]")
    assert found.libcupti is not None
    if module.lib.pcu_cupti_open(found.libcupti.encode(), message, 1024) != 0:
        raise Unavailable(f"libcupti can't be loaded: {module.ffi.string(message).decode(errors='replace')}")
    return found.api_version
