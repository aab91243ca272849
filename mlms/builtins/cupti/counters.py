"""The profiler ``cupti_counters``: what the GPU's hardware counts in each kernel that ``cupti`` recorded.

Counting means running a kernel several times over, its memory put back each time, so nothing that is measured can be
counted. One prediction more is run that way afterwards, and its figures are given to all recorded predictions that
launched the same kernels in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.cupti.available import pycupti_or_note
from mlms.builtins.cupti.table import Attributes
from mlms.tracing.observations import Activities
from mlms.tracing.recorder import Recorder

NAME = "cupti_counters"
READ, WRITTEN = "dram__bytes_read.sum", "dram__bytes_write.sum"
OCCUPANCY = "sm__warps_active.avg.pct_of_peak_sustained_active"
TENSOR_PIPES = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active"

Integers = npt.NDArray[np.int64]
Predict = Callable[[], object]


class CuptiCounters:
    """Counts with pycupti's Range Profiler, a range for each kernel."""

    level: str = "hardware"
    devices: str = "cuda"

    def attach(self, recorder: Recorder) -> AbstractContextManager[None]:
        """Nothing is counted while the model is observed."""
        return nullcontext()

    def replay(self, predict: Predict, recorder: Recorder) -> None:
        """Add FLOPs, DRAM traffic, occupancy and use of the tensor pipes to the recorded kernels.

        A note says where counters are restricted, or kernels don't fit; the trace stays as it was.
        """
        traced = [place for place, found in enumerate(recorder.activities) if _are_kernels(found)]
        pycupti = pycupti_or_note(recorder, NAME) if traced else None
        if pycupti is None:
            return
        try:
            launched = launched_names(pycupti, predict)
            counted = count(pycupti, predict, len(launched), _device(recorder.activities[traced[0]]))
        except pycupti.PycuptiError as error:
            recorder.notes.append(f"{NAME}: off: {error}")
            return
        if len(counted) != len(launched):
            recorder.notes.append(
                f"{NAME}: off: a prediction launches {len(launched)} kernels but {len(counted)} could be counted; "
                "those of a CUDA graph can't be told apart"
            )
            return
        for place in traced:
            found = recorder.activities[place]
            number = numbered(found, launched)
            recorder.activities[place] = with_figures(found, number, [figures(pycupti, each) for each in counted])
            if (number < 0).any():
                recorder.notes.append(
                    f"{NAME}: {int((number < 0).sum())} of {len(number)} kernels have no counters, "
                    "as their predictions launched other kernels than the one that was counted"
                )


def launched_names(pycupti: ModuleType, predict: Predict) -> Sequence[str]:
    """The kernels of one prediction in the order of their launches."""
    with pycupti.Tracer([pycupti.Kind.KERNEL]) as tracer:
        predict()
        tracer.flush()
        records = tracer.drain()
    order = np.lexsort((records.kernels["start"], records.kernels["correlation"]))
    return [pycupti.demangle(records.names[each]) for each in records.kernels["name"][order]]


def count(pycupti: ModuleType, predict: Predict, kernels: int, device: int) -> Sequence[Mapping[str, float]]:
    """The counters of each kernel of one prediction, in the order of their launches.

    Raises:
        PycuptiError: counters are restricted, busy, or not to be had on this device.
    """
    metrics = pycupti.metrics
    chip = metrics.chip(device)
    names = (*metrics.known(chip, metrics.ROOFLINE), *metrics.flop_counters(chip))
    with pycupti.RangeProfiler(
        names, device=device, per_kernel=True, max_ranges=2 * kernels + 64, finalize=pycupti.probe().finalizable
    ) as profiler:
        return [found.values for found in profiler.measure(predict)]


def figures(pycupti: ModuleType, values: Mapping[str, float]) -> Mapping[str, float | None]:
    """Counters as attributes; None for what the chip doesn't count."""
    return {
        "mlms.gpu.flops": pycupti.metrics.flops(values),
        "mlms.gpu.dram_read_bytes": values.get(READ),
        "mlms.gpu.dram_write_bytes": values.get(WRITTEN),
        "mlms.gpu.occupancy": _share(values.get(OCCUPANCY)),
        "mlms.gpu.tensor_pipe_utilization": _share(values.get(TENSOR_PIPES)),
    }


def numbered(kernels: Activities, launched: Sequence[str]) -> Integers:
    """For each kernel its position in ``launched``, -1 where its thread launched another sequence around it."""
    attributes = kernels.attributes
    assert isinstance(attributes, Attributes)
    thread = np.array([each or 0 for each in attributes.columns["thread.id"].tolist()], np.uint64)
    order = np.lexsort((kernels.start_ns, attributes.columns["mlms.cuda.correlation_id"], thread))
    place = {name: index for index, name in enumerate(kernels.names)}
    reference = np.array([place.get(name, -1) for name in launched], np.int64)
    sequence = kernels.name[order]
    number = np.full(len(order), -1, np.int64)
    after = 0
    for start in np.flatnonzero(sequence == reference[:1]).tolist() if launched else []:
        part = order[start : start + len(reference)]
        same = len(part) == len(reference) and (kernels.name[part] == reference).all()
        if start >= after and same and thread[part[0]] == thread[part[-1]]:
            number[part] = np.arange(len(reference))
            after = start + len(reference)
    return number


def with_figures(kernels: Activities, number: Integers, counted: Sequence[Mapping[str, float | None]]) -> Activities:
    """The kernels with the figures that their ``number`` points at."""
    assert isinstance(kernels.attributes, Attributes)
    keys = counted[0] if counted else ()
    columns = {key: np.array([*(each[key] for each in counted), None], dtype=object)[number] for key in keys}
    return replace(kernels, attributes=kernels.attributes.with_columns(columns))


def _are_kernels(found: Activities) -> bool:
    return (
        isinstance(found.attributes, Attributes)
        and len(found.attributes) > 0
        and found.attributes[0].get("mlms.gpu.activity") == "kernel"
    )


def _device(kernels: Activities) -> int:
    """The device that ran the most of them; the Range Profiler counts on one."""
    assert isinstance(kernels.attributes, Attributes)
    return int(np.bincount(kernels.attributes.columns["mlms.gpu.device"]).argmax())


def _share(percent: float | None) -> Any:
    return None if percent is None else percent / 100
