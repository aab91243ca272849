"""The machine and software that a run was made with."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from mlms.urls import shown_within

PERFORMANCE_PREFIXES = (
    "OMP_", "KMP_", "GOMP_", "MKL_", "DNNL_", "ONEDNN_", "OPENBLAS_", "MALLOC_", "TORCHINDUCTOR_", "MLMS_",
)  # fmt: skip
PERFORMANCE_NAMES = frozenset(
    {
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_DEVICE_MAX_CONNECTIONS",
        "CUDA_DEVICE_ORDER",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_MODULE_LOADING",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_TF32_OVERRIDE",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "TORCH_COMPILE_DISABLE",
        "TORCH_CUDNN_V8_API_DISABLED",
    }
)
_SECRET = re.compile(r"TOKEN|SECRET|PASS|KEY|CRED|AUTH|COOKIE|HEADERS", re.IGNORECASE)

_CGROUPS = Path("/sys/fs/cgroup")
_COMMAND_SECONDS = 5.0


def describe_environment(packages: Iterable[str]) -> dict[str, Any]:
    """What the record says of this machine; ``packages`` are the distributions whose versions matter.

    ``fingerprint`` is the SHA-256 of what stays the same from run to run on one machine: all but the variables, with
    memory to the GiB.
    """
    import psutil

    described: dict[str, Any] = {
        "cpu": {
            "model": _cpu_model(),
            "architecture": platform.machine(),
            "cores_physical": psutil.cpu_count(logical=False),
            "cores_logical": psutil.cpu_count(),
            "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "quota": cpu_quota(),
        },
        "memory_bytes": psutil.virtual_memory().total,
        "os": {"system": platform.system(), "release": platform.release(), "distribution": _distribution()},
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "packages": versions(packages),
        "gpus": gpus(),
    }
    stable = described | {"memory_bytes": round(described["memory_bytes"] / 2**30)}
    text = json.dumps(stable, sort_keys=True)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return {"fingerprint": fingerprint, **described, "variables": variables(os.environ)}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions by distribution; those that aren't installed are left out."""
    found = {}
    for name in sorted(set(packages)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that bear on performance or on mlms, without what looks like a secret."""
    return {
        name: shown_within(value)
        for name, value in sorted(environment.items())
        if (name in PERFORMANCE_NAMES or name.startswith(PERFORMANCE_PREFIXES)) and not _SECRET.search(name)
    }


def gpus() -> list[dict[str, Any]]:
    """NVIDIA's GPUs, as ``nvidia-smi`` lists them; empty where there is none."""
    program = shutil.which("nvidia-smi")
    query = "--query-gpu=name,memory.total,driver_version"
    text = _output([program, query, "--format=csv,noheader,nounits"]) if program else None
    found = []
    for line in (text or "").splitlines():
        name, memory, driver = (part.strip() for part in line.rsplit(",", 2))
        found.append(
            {"name": name, "memory_bytes": int(memory) * 2**20 if memory.isdecimal() else None, "driver": driver}
        )
    return found


def cpu_quota(root: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs' worth of time that this process's control group (version 2) or one above it may use; None: no limit."""
    limits = []
    for group in control_groups(root, membership):
        try:
            quota, period = (group / "cpu.max").read_text("utf-8").split()
        except (OSError, ValueError):
            quota, period = "max", ""  # this group sets no limit
        if quota != "max":
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def control_groups(root: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """The folders of this process's control group (version 2) and those above it, innermost first."""
    try:
        lines = membership.read_text("utf-8").splitlines()
    except OSError:
        return []
    group = next((line[3:] for line in lines if line.startswith("0::")), None)
    if group is None:
        return []
    folder = root / group.lstrip("/")
    return [place for place in (folder, *folder.parents) if place.is_relative_to(root)]


def git_state(path: Path) -> dict[str, Any] | None:
    """Commit of the repository that holds ``path``, and whether its files differ from it; None outside of one."""
    program = shutil.which("git")
    if program is None:
        return None
    folder = path if path.is_dir() else path.absolute().parent
    # A repository may name programs to run as its file-system monitor; these are not for us to start.
    git = [program, "-c", "core.fsmonitor=false", "-C", str(folder)]
    commit = _output([*git, "rev-parse", "--verify", "HEAD"])
    changes = _output([*git, "status", "--porcelain"])
    if commit is None or changes is None:
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _output(command: list[str]) -> str | None:
    """What a command prints; None when it fails or takes too long."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_SECONDS, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None
