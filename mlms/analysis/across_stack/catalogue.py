"""The analyses by name, as ``mlms analyze`` and ``mlms.analyze`` know them, and what their columns mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import polars as pl

from mlms.analysis.across_stack import bound, kernels, layer_difference, layers, model, roofline
from mlms.analysis.across_stack.trace import Trace, read_trace
from mlms.errors import InputError, UnknownNameError
from mlms.hooks.types import Roof
from mlms.runs.run import Run


@dataclass(frozen=True, slots=True)
class Analysis:
    """``level`` is the trace level that it needs; ``paper`` XSP's number for it, "" for what goes beyond.

    Exactly one function is set: of a run's trace; of it and its machine's roof, which ``of_bound`` must have and
    ``of_roof`` can do without; of several runs; or of the traces of two.
    """

    summary: str
    level: str
    paper: str = ""
    of_trace: Callable[[Trace], pl.DataFrame] | None = None
    of_bound: Callable[[Trace, Roof], pl.DataFrame] | None = None
    of_roof: Callable[[Trace, Roof | None], pl.DataFrame] | None = None
    of_runs: Callable[[Sequence[Run]], pl.DataFrame] | None = None
    of_two: Callable[[Trace, Trace], pl.DataFrame] | None = None


ANALYSES: Mapping[str, Analysis] = {
    "model-information": Analysis(
        "latency and throughput by batch size, and the optimal one, of one or more runs",
        "none",
        "A1",
        of_runs=model.model_information,
    ),
    "layer-information": Analysis(
        "each layer in execution order, with all that is known of it", "layer", "A2", of_trace=layers.layer_information
    ),
    "layer-latency": Analysis("latency of each layer", "layer", "A3", of_trace=layers.layer_latency),
    "layer-memory": Analysis(
        "memory of each layer's outputs and parameters", "layer", "A4", of_trace=layers.layer_memory
    ),
    "layer-types": Analysis("number of layers of each type", "layer", "A5", of_trace=layers.layer_types),
    "latency-by-type": Analysis("latency of the layers of each type", "layer", "A6", of_trace=layers.latency_by_type),
    "memory-by-type": Analysis("memory of the layers of each type", "layer", "A7", of_trace=layers.memory_by_type),
    "kernel-information": Analysis(
        "each kernel of the median prediction", "library", "A8", of_trace=kernels.kernel_information
    ),
    "kernel-roofline": Analysis("roofline of kernels", "library", "A9", of_roof=roofline.kernel_roofline),
    "kernels-by-name": Analysis("kernels of each name together", "library", "A10", of_trace=kernels.kernels_by_name),
    "kernels-by-layer": Analysis("kernels of each layer together", "library", "A11", of_trace=kernels.kernels_by_layer),
    "metrics-by-layer": Analysis(
        "FLOPs, DRAM reads and writes, and occupancy by layer", "library", "A12", of_trace=kernels.metrics_by_layer
    ),
    "gpu-by-layer": Analysis("GPU against non-GPU time by layer", "library", "A13", of_trace=kernels.gpu_by_layer),
    "layer-roofline": Analysis("roofline of layers", "layer", "A14", of_roof=roofline.layer_roofline),
    "kernels-by-model": Analysis(
        "all kernels beside the latency of a prediction", "library", "A15", of_trace=kernels.kernels_by_model
    ),
    "model-roofline": Analysis("roofline of the model", "layer", "A15", of_roof=roofline.model_roofline),
    "layer-bounds": Analysis("the least time of each layer, and its gap to it", "layer", of_bound=bound.layer_bounds),
    "bounds-by-type": Analysis("the same for the layers of each type", "layer", of_roof=bound.bounds_by_type),
    "layer-difference": Analysis(
        "layers that explain the difference between two runs", "layer", of_two=layer_difference.layer_difference
    ),
    "difference-by-type": Analysis(
        "the same for the layers of each type", "layer", of_two=layer_difference.difference_by_type
    ),
}

NO_ROOF = "measure it on that machine with 'mlms doctor --roofline'"

COLUMNS: Mapping[str, str] = {
    "index": "position in order of execution, from 0",
    "layer": "number of the layer and call",
    "name": "qualified name of the layer, or name of the kernel",
    "layer_name": "qualified name of the layer that the kernel ran for",
    "type": "the layer's type, such as Conv2d",
    "call": "which call of the layer in a prediction, from 0",
    "leaf": "whether no other layer is called in it",
    "predictions": "measured predictions that it occurs in",
    "count": "number of layers (and calls of them)",
    "runs": "number of runs",
    "input_shapes": "shapes of the input tensors",
    "output_shapes": "shapes of the output tensors",
    "parameters": "number of parameters, with those of the layers within",
    "parameter_bytes": "bytes of these",
    "input_bytes": "bytes of the input tensors",
    "output_bytes": "bytes of the output tensors",
    "memory_bytes": "bytes that are allocated for outputs",
    "flops": "floating-point operations, a multiply-add being two",
    "self_flops": "the same without the layers within",
    "bytes": "bytes moved: DRAM traffic where it was counted, else inputs, outputs and parameters",
    "start_ns": "median start since the start of the prediction, ns",
    "total_ns": "median latency with the layers within, ns",
    "self_ns": "median latency without the layers within, ns",
    "time_ns": "self_ns, or the GPU's time for it where its kernels were recorded, ns",
    "latency_ns": "median latency, ns",
    "prediction_ns": "median latency of a prediction, ns",
    "share": "percent of a prediction's latency at the same trace level (or of all layers, memory or kernels)",
    "model": "name of the model",
    "framework": "name of the framework",
    "device": "where it ran",
    "dtype": "element type of the model",
    "threads": "threads of the framework",
    "scenario": "the load pattern",
    "level": "trace level that its latencies were measured at",
    "settings": "what else tells runs apart that share the columns before",
    "batch_size": "samples a prediction",
    "throughput": "samples/s: batch_size over latency_ns",
    "optimal": "whether doubling this batch size raises the throughput by 5% or less, and it is the first such",
    "kernels": "number of kernels in a prediction",
    "unknown": "layers whose FLOPs or bytes aren't known, so that the model's aren't",
    "dram_read_bytes": "bytes read from the GPU's memory",
    "dram_write_bytes": "bytes written to the GPU's memory",
    "occupancy": "achieved occupancy, 0 to 1, weighted by latency",
    "gpu_ns": "median time that the GPU worked for the layer, ns",
    "non_gpu_ns": "median rest of the layer's own time, ns",
    "gpu_share": "percent of gpu_ns in both",
    "intensity": "arithmetic intensity, FLOPs a byte",
    "flops_per_s": "achieved FLOPs a second",
    "memory_bound": "whether the roof above its intensity is the bandwidth's",
    "attainable_flops_per_s": "the roof at its intensity, FLOPs a second",
    "efficiency": "flops_per_s in percent of the roof",
    "compute_ns": "least time for its FLOPs, ns",
    "memory_ns": "least time for its bytes, ns",
    "bound_ns": "the longer of these, ns",
    "gap": "time_ns over bound_ns (by type: of the layers that have a bound)",
    "lost_ns": "time_ns less bound_ns, ns (by type: the same)",
    "limited_by": "what the bound comes from: compute or memory",
    "before_ns": "time in a prediction of the first run, ns",
    "after_ns": "time in a prediction of the second run, ns",
    "difference_ns": "after less before, ns",
    "explained": "difference in percent of that of the predictions",
    "certain": "whether the 95% intervals of both medians lie apart (by type: for how many layers)",
}


def find_analysis(name: str) -> Analysis:
    """An analysis by its name.

    Raises:
        UnknownNameError: there is none; the hint names the nearest.
    """
    if name not in ANALYSES:
        near = get_close_matches(name, ANALYSES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "'mlms analyze --list' lists them"
        raise UnknownNameError(f"there is no analysis '{name}'", hint=hint)
    return ANALYSES[name]


def analyze(name: str, runs: Sequence[Run], against: Run | None, roof_of: Callable[[Run], Roof | None]) -> pl.DataFrame:
    """The frame of one analysis; ``roof_of`` finds the roof of a run's machine and is called where it is needed.

    Raises:
        InputError: there is no such analysis, it takes other runs, or they lack what it needs.
        StorageError: a run's files are missing or damaged.
    """
    analysis = find_analysis(name)
    if analysis.of_runs:
        return analysis.of_runs(_without_another(name, runs, against))
    if len(runs) != 1:
        raise InputError(f"'{name}' takes one run, not {len(runs)}", hint="'model-information' takes several")
    (run,) = runs
    if analysis.of_two:
        if against is None:
            raise InputError(f"'{name}' compares two runs", hint="name the other with --against (against=...)")
        return analysis.of_two(read_trace(run), read_trace(against))
    _without_another(name, runs, against)
    trace = read_trace(run)
    if analysis.of_trace:
        return analysis.of_trace(trace)
    trace.need(analysis.level)  # before a roof is measured in vain
    roof = roof_of(run)
    if analysis.of_bound:
        if roof is None:
            raise InputError(f"'{name}' needs what the run's machine can do at most, which isn't known", hint=NO_ROOF)
        return analysis.of_bound(trace, roof)
    assert analysis.of_roof is not None
    return analysis.of_roof(trace, roof)


def _without_another(name: str, runs: Sequence[Run], against: Run | None) -> Sequence[Run]:
    if against is not None:
        raise InputError(
            f"'{name}' compares no runs", hint="'layer-difference' and 'difference-by-type' are held against another"
        )
    return runs
