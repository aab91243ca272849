"""What an evaluation takes of the machine: memory, processor time, energy, and the arithmetic that it does for it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from mlms.errors import ModelError
from mlms.executor.loading import LoadedModel
from mlms.executor.measuring import batch_of
from mlms.hooks.blame import blaming
from mlms.hooks.types import CountsFlops, Outputs, TracksDeviceMemory
from mlms.pipeline.preparation import Prepared
from mlms.profilers.energy import Energy, read_energy
from mlms.profilers.region import MeasuredRegion
from mlms.profilers.sampler import Sampler
from mlms.profilers.usage import peak_rss, reset_peak_rss
from mlms.scenarios.sut import Positions

SAMPLES_FILE = "power.jsonl"
SETTLE_S, IDLE_S = 0.5, 1.5


class Power:
    """The sampler of an evaluation and the window in which the machine was idle; nothing where nothing is metered."""

    def __init__(self, sampler: Sampler | None) -> None:
        self._sampler = sampler
        if sampler is not None:
            time.sleep(SETTLE_S)
        start = perf_counter_ns()
        if sampler is not None:
            time.sleep(IDLE_S)
        self._idle = start, perf_counter_ns()

    def stop(self) -> None:
        if self._sampler is not None:
            self._sampler.stop()

    def energy(self, region: MeasuredRegion, device: str | None) -> Energy | None:
        """What the region took, once it is over. ``perf_counter_ns`` and the sampler's clock are the same one."""
        if self._sampler is None:
            return None
        self.stop()
        return read_energy(self._sampler.file, (region.start_ns, region.end_ns), self._idle, device)


@contextmanager
def power_sampled(folder: Path) -> Iterator[Power]:
    """Begin to account: the peak of memory starts anew, the idle machine's power is taken, the samples go on."""
    reset_peak_rss()
    sampler = Sampler.start(folder / SAMPLES_FILE)
    try:
        yield Power(sampler)
    finally:
        if sampler is not None:
            sampler.stop()


def resources(
    region: MeasuredRegion,
    model: LoadedModel,
    loaded: Sequence[Prepared],
    batch_size: int,
    answered: tuple[Positions, Outputs] | None,
    energy: Energy | None,
) -> dict[str, Any]:
    """The record's ``resources``; ``answered`` is any prediction, whose outputs show how large a sample's are.

    ``arithmetic_intensity`` is floating-point operations by bytes of one batch: flops(batch) / (model_bytes + bytes of
    the inputs + bytes of the outputs), as if each were moved once and nothing else (the roofline model's compulsory
    traffic: Williams, Waterman, Patterson, CACM 52(4), 2009).

    Raises:
        ModelError: the predictor can't say what it was asked.
    """
    described, predictor = model.describe(), model.predictor
    batch = batch_of(loaded, tuple(position % len(loaded) for position in range(batch_size)))
    flops: int | None = None
    device_peak: int | None = None
    with blaming(f"model '{model.name}' failed to account for itself", ModelError):
        if isinstance(predictor, TracksDeviceMemory):
            device_peak = predictor.device_peak_bytes()
        peak = peak_rss(described.get("worker_pid"))  # before counting operations, which takes memory of its own
        if isinstance(predictor, CountsFlops):
            flops = predictor.flops(batch)
    model_bytes = described.get("size_bytes")
    positions, outputs = answered or ((), {})
    moved = _bytes(batch) + _bytes(outputs) * batch_size / max(len(positions), 1) + (model_bytes or 0)
    wall_s = region.duration_s
    return {
        "peak_rss_bytes": peak,
        "cpu_seconds": region.used.cpu_s,
        "cpu_share": region.used.cpu_s / wall_s if wall_s else None,
        "page_faults": {"minor": region.used.minor_faults, "major": region.used.major_faults},
        "device_peak_bytes": device_peak,
        "device_used_bytes": energy and energy.used_bytes,
        "energy_joules": energy and _finite(energy.joules),
        "energy_idle_watts": energy and _finite(energy.idle_watts),
        "energy_samples": energy.samples if energy else 0,
        "energy_source": energy and energy.source,
        "model_bytes": model_bytes,
        "parameters": described.get("parameters"),
        "flops_per_sample": None if flops is None else flops / batch_size,
        "arithmetic_intensity": flops / moved if flops is not None and model_bytes is not None and moved else None,
    }


def _bytes(arrays: Mapping[str, Any]) -> int:
    return sum(getattr(array, "nbytes", 0) for array in arrays.values())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
