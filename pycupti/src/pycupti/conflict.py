"""Names the tool that holds CUPTI in this process, from what is loaded and set."""

import os
import sys
from pathlib import Path

from pycupti.errors import Conflict

#: Part of a loaded library's file name, and the tool it belongs to.
_LIBRARIES = {
    "libToolsInjection": "Nsight Systems",
    "libcuda-injection": "Nsight Compute",
    "libsanitizer-collection": "compute-sanitizer",
    "libInterceptorInjectionTarget": "Nsight Compute or compute-sanitizer",
    "libTreeLauncherTargetInjection": "Nsight Compute or compute-sanitizer",
    "libproton": "Triton's Proton profiler",
    "libscorep": "Score-P",
}


def _torch_profiling() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.autograd._profiler_enabled())


def holder() -> str | None:
    """Name the other client, or None when nothing gives it away."""
    if _torch_profiling():
        return "torch.profiler"
    maps = Path("/proc/self/maps")
    mapped = maps.read_text(errors="replace") if maps.is_file() else ""
    for part, tool in _LIBRARIES.items():
        if part in mapped:
            return tool
    injected = os.environ.get("CUDA_INJECTION64_PATH")
    if injected:
        return f"the tool injected by CUDA_INJECTION64_PATH={injected}"
    return "torch.profiler, which keeps CUPTI after its first use," if "torch" in sys.modules else None


def conflict(action: str) -> Conflict:
    """Build the error for result 39."""
    tool = holder()
    mend = (
        f"{tool} holds it: stop it, and start tracing in a process that hasn't used it"
        if tool
        else "stop the other profiler; CUPTI serves one client a process"
    )
    return Conflict(39, action, mend)
