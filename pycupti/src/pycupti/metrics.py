"""Hardware metrics without a GPU: what a chip can count, and how many passes a set of metrics takes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pycupti import _child, library
from pycupti.errors import Unavailable, check, rebuild
from pycupti.probing import open_cupti
from pycupti.tracer import attach

#: One pass together on GH100: time, DRAM traffic, achieved occupancy, cycles, use of the tensor pipes.
ROOFLINE = (
    "gpu__time_duration.sum",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "sm__cycles_active.avg",
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
)
#: Floating-point instructions of threads, and operations of tensor instructions by what they read.
_FLOPS = re.compile(
    r"smsp__sass_thread_inst_executed_op_(?P<type>[fhd])(?P<operation>add|mul|fma)_pred_on\.sum"
    r"|sm__ops_path_tensor_src_(?:fp|bf|tf)(?:(?!sparsity|realtime)\w)*\.sum"
)


def known(chip: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return those metrics of `names` whose base the chip has."""
    bases = {name for kind in available(chip).values() for name in kind}
    return tuple(name for name in names if name.partition(".")[0] in bases)


def flop_counters(chip: str) -> tuple[str, ...]:
    """Return the counters that together hold all floating-point operations, some five passes on GH100."""
    names = (f"{name}.sum" for kind in available(chip).values() for name in kind)
    return tuple(sorted(filter(_FLOPS.fullmatch, names)))


def flops(values: Mapping[str, float]) -> float:
    """Floating-point operations from the counters of `flop_counters`, a multiply-add being two.

    Threads do half-precision two at a time, and each such instruction counts as both.

    >>> flops({"sm__ops_path_tensor_src_fp16.sum": 8.0, "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum": 2.0})
    12.0
    """
    total = 0.0
    for name, value in values.items():
        found = _FLOPS.fullmatch(name)
        if found:
            total += value * (2 if found["operation"] == "fma" else 1) * (2 if found["type"] == "h" else 1)
    return total


@dataclass(frozen=True, slots=True)
class Plan:
    """Metrics that a chip has, and how often a region must run to collect them all."""

    chip: str
    names: tuple[str, ...]
    passes: int


def _path() -> str:
    path = library.find()
    if path is None:
        raise Unavailable("no libcupti found", "pip install nvidia-cuda-cupti, or set PYCUPTI_LIBCUPTI to its path")
    return path


def _ask(task: str, path: str, **argument: Any) -> Any:
    outcome = _child.run(task, {"path": path, **argument})
    answer = outcome.steps.get("answer")
    if answer is None:
        reason = outcome.stderr.splitlines()[-1:] or [f"status {outcome.status}"]
        raise Unavailable(
            f"metric planning with {path} ended without an answer ({reason[0]})",
            "without a GPU only the libcupti of CUDA 12.6 to 13.1 can plan; with one, check the driver",
        )
    if "value" in answer:
        return answer["value"]
    raise rebuild(answer["error"], answer["arguments"])


def chip(device: int = 0) -> str:
    """Return the name of a device's chip, such as GH100; loads libcupti in this process.

    Raises Unavailable on a machine without a GPU, or with a libcupti before 12.6.
    """
    open_cupti()
    attach()
    module = library.core()
    name = module.ffi.new("const char **")
    check(module.lib.pcu_chip_name(device, name), "asking for the chip's name")
    return str(module.ffi.string(name[0]).decode())


def chips() -> tuple[str, ...]:
    """Return the chips that the installed libcupti knows, such as GH100."""
    return tuple(_ask("chips", _path()))


def available(chip: str) -> dict[str, tuple[str, ...]]:
    """Return a chip's base metrics by type: counter, ratio, throughput."""
    return _available(_path(), chip)


@lru_cache(maxsize=8)
def _available(path: str, chip: str) -> dict[str, tuple[str, ...]]:
    return {kind: tuple(names) for kind, names in _ask("available", path, chip=chip).items()}


def submetrics(chip: str, metric: str) -> tuple[str, ...]:
    """Return what can follow a base metric's name, such as `.sum` and `.avg.per_second`."""
    return tuple(_ask("submetrics", _path(), chip=chip, metric=metric))


def plan(chip: str, names: Iterable[str]) -> Plan:
    """Plan the passes for a set of metrics.

    Raises UnknownMetric naming all that the chip lacks, with the nearest that it has.
    """
    wanted = tuple(names)
    return Plan(chip, wanted, _ask("plan", _path(), chip=chip, names=list(wanted)))
