"""CUPTI's profilers: GPU activity, and the GPU's counters. Nothing here imports pycupti until one attaches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlms.hooks import Component, Context, Profiler


def _tracing(options: Mapping[str, Any], context: Context) -> Profiler:
    from mlms.builtins.cupti.tracing import CuptiTracing

    return CuptiTracing()


def _counters(options: Mapping[str, Any], context: Context) -> Profiler:
    from mlms.builtins.cupti.counters import CuptiCounters

    return CuptiCounters()


COMPONENTS: tuple[Component[Profiler], ...] = (
    Component(name="cupti", make=_tracing, summary="NVIDIA GPUs: kernels, copies and the CUDA calls behind them."),
    Component(
        name="cupti_counters",
        make=_counters,
        summary="NVIDIA GPUs: FLOPs, DRAM traffic and occupancy of the kernels that cupti recorded.",
    ),
)
