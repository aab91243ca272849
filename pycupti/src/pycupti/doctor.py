"""What `python -m pycupti doctor` says."""

from collections.abc import Iterator

from pycupti import library, metrics
from pycupti.errors import PycuptiError
from pycupti.probing import Probe, probe


def _driver(found: Probe) -> str:
    if not found.driver_found:
        return "CUDA driver: not found"
    if found.driver_result != 0:
        return f"CUDA driver: found, but cuInit answers {found.driver_result}"
    version = f"{found.driver_version // 1000}.{found.driver_version % 1000 // 10}"
    return f"CUDA driver: works, for CUDA up to {version}"


def _libcupti(found: Probe) -> str:
    if found.libcupti is None:
        return "libcupti: not found"
    version = f", API {found.api_version}" if found.api_version else ", not asked for its version"
    return f"libcupti: {found.libcupti}{version}"


def _metrics(found: Probe) -> str:
    if found.libcupti is None:
        return "metric planning: off, it needs libcupti"
    try:
        return f"metric planning: works, for {len(metrics.chips())} chips"
    except PycuptiError as error:
        return f"metric planning: off: {error}"


def report() -> Iterator[str]:
    """Yield the report, line by line; it works on every machine and hurts none."""
    found = probe()
    yield _driver(found)
    for index, name in enumerate(found.devices):
        yield f"device {index}: {name}"
    yield _libcupti(found)
    for path in found.others_loaded:
        yield f"also loaded, never to be used together: {path}"
    yield _metrics(found) if _has_core() else "metric planning: off"
    if found.tracing:
        yield "tracing: works"
    else:
        yield f"tracing: off: {found.problem}"
        if found.hint:
            yield f"mend: {found.hint}"


def _has_core() -> bool:
    try:
        library.core()
    except PycuptiError:
        return False
    return True
