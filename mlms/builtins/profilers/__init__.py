"""Profilers that ship with mlms. Each samples from a process of its own, which alone imports what it reads with."""

from __future__ import annotations

from mlms.builtins.profilers.sampled import SampledOnGpus, component
from mlms.hooks import Component, Profiler

COMPONENTS: tuple[Component[Profiler], ...] = (
    component(
        "host", "Processor, memory and threads of the process and the machine.", "mlms.builtins.profilers.host:Host"
    ),
    component("perf", "Linux's perf events of the process: cycles, cache misses.", "mlms.builtins.profilers.perf:Perf"),
    component(
        "nvml", "Use, memory, power and clocks of NVIDIA GPUs.", "mlms.builtins.profilers.gpu:Gpus", SampledOnGpus
    ),
)
