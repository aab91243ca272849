"""MLPerf's description of a system, from what a run's record knows of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlms.builtins.exporters.text import section
from mlms.hooks import Run

UNKNOWN = "unknown (mlms does not record it)"
NONE = "N/A (the run used no accelerator)"

FIELDS = (
    "submitter", "division", "system_type", "system_type_detail", "status", "system_name", "number_of_nodes",
    "host_processors_per_node", "host_processor_model_name", "host_processor_core_count",
    "host_processor_vcpu_count", "host_processor_frequency", "host_processor_caches", "host_processor_interconnect",
    "host_memory_capacity", "host_memory_configuration", "host_storage_type", "host_storage_capacity",
    "host_networking", "host_network_card_count", "host_networking_topology",
    "accelerators_per_node", "accelerator_model_name", "accelerator_frequency", "accelerator_host_interconnect",
    "accelerator_interconnect", "accelerator_interconnect_topology", "accelerator_memory_capacity",
    "accelerator_memory_configuration", "accelerator_on-chip_memories",
    "cooling", "hw_notes", "framework", "other_software_stack", "operating_system", "sw_notes",
)  # fmt: skip
"""Those of the submission rules, and all that the checker of round 6.0 asks for."""


def default_name(run: Run) -> str:
    """A system's id: its accelerator or processor, and the beginning of its environment's fingerprint."""
    environment = section(run, "environment")
    gpu = _accelerator(run)
    hardware = gpu["name"] if gpu else (environment.get("cpu") or {}).get("model") or "system"
    slug = re.sub(r"[^A-Za-z0-9]+", "-", hardware).strip("-") or "system"
    return f"{slug}-{environment['fingerprint'][:8]}"


def describe(run: Run, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Every field in the rules' order: the user's ``facts``, else what the record knows, else UNKNOWN."""
    environment, framework = section(run, "environment"), section(run, "framework")
    cpu, system = environment.get("cpu") or {}, environment.get("os") or {}
    packages = {**(environment.get("packages") or {}), "Python": (environment.get("python") or {}).get("version")}
    known = {
        "submitter": options.get("submitter", "unknown"),
        "division": options.get("division", "open"),
        "system_name": name,
        "number_of_nodes": 1,
        "host_processor_model_name": cpu.get("model"),
        "host_processor_core_count": _count(cpu.get("cores_physical"), "of the whole node"),
        "host_processor_vcpu_count": _count(cpu.get("cores_logical"), "of the whole node"),
        "host_memory_capacity": _gibibytes(environment.get("memory_bytes")),
        **_accelerator_fields(_accelerator(run)),
        "hw_notes": _limits(cpu),
        "framework": f"{framework.get('distribution')} {framework.get('installed')}",
        "other_software_stack": ", ".join(f"{package} {version}" for package, version in sorted(packages.items())),
        "operating_system": " ".join(
            str(system[key]) for key in ("distribution", "system", "release") if system.get(key)
        ),
        "sw_notes": f"measured with mlms {run.record['mlms_version']}, environment {environment['fingerprint']}",
    }
    facts = options.get("facts") or {}
    return {field: facts.get(field, known.get(field) if known.get(field) is not None else UNKNOWN) for field in FIELDS}


def _accelerator(run: Run) -> Mapping[str, Any] | None:
    """The GPU that the run used; None for a run on the processor."""
    device = str((section(run, "model").get("describe") or {}).get("device", "cpu"))
    if device == "cpu":
        return None
    # As CUDA shows them to the framework; the machine's own list knows nothing of CUDA_VISIBLE_DEVICES.
    environment = section(run, "environment")
    shown = (section(run, "framework").get("describe") or {}).get("gpus")
    gpus = shown or environment.get("gpus") or []
    _, _, number = device.partition(":")
    index = int(number) if number.isdecimal() else 0
    if not shown and "CUDA_VISIBLE_DEVICES" in (environment.get("variables") or {}):
        gpus, index = (gpus if len({gpu["name"] for gpu in gpus}) == 1 else []), 0
    return gpus[index] if index < len(gpus) else {"name": device, "memory_bytes": None}


def _accelerator_fields(gpu: Mapping[str, Any] | None) -> dict[str, Any]:
    if gpu is None:
        fields = [field for field in FIELDS if field.startswith("accelerator_")]
        return {"accelerators_per_node": "0", **dict.fromkeys(fields, NONE)}
    return {
        "accelerators_per_node": "1",
        "accelerator_model_name": gpu["name"],
        "accelerator_memory_capacity": _gibibytes(gpu.get("memory_bytes")),
    }


def _limits(cpu: Mapping[str, Any]) -> str:
    """What kept the run from using the whole processor; MLPerf wants no answer where there is nothing to say."""
    limits = []
    if cpu.get("affinity") is not None and cpu["affinity"] != cpu.get("cores_logical"):
        limits.append(f"pinned to {cpu['affinity']} logical cores")
    if cpu.get("quota") is not None:
        limits.append(f"limited to {cpu['quota']:g} processors' worth of time")
    return ", ".join(limits)


def _count(number: int | None, note: str) -> str | None:
    return None if number is None else f"{number} ({note})"


def _gibibytes(number: int | None) -> str | None:
    return None if number is None else f"{number / 2**30:.0f} GiB"
