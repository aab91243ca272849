"""Kernels: what the GPU, or on the CPU a library, ran for each layer (A8 and A10 to A13, A15 of XSP). Imports polars.

Figures are sums in a prediction, and of these the median over the measured predictions that have any, as much less as
these are fewer than all (for a layer's kernels: than those that run the layer). A sum of a counter is null where one of
its parts wasn't counted; occupancy is the mean, weighted by latency.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from mlms.analysis.across_stack.layers import OUTSIDE, layer_information
from mlms.analysis.across_stack.trace import Trace

COUNTERS = ("flops", "dram_read_bytes", "dram_write_bytes")


def kernel_information(trace: Trace) -> pl.DataFrame:
    """A8: each kernel of the median prediction (the one whose latency is nearest to it), in the order they started.

    Raises:
        InputError: the trace has no kernels; so for the others.
    """
    trace.need("library")
    predictions = trace.of("library").predictions
    distance = (predictions["latency_ns"] - predictions["latency_ns"].median()).abs()
    typical = predictions["prediction"][distance.arg_min() or 0]
    layers = trace.calls.select("layer", layer_name="name", type="type")
    return (
        trace.kernels.filter(pl.col("prediction") == typical)
        .join(layers, on="layer", how="left", maintain_order="left")
        .with_row_index("index")
        .select("index", "name", "device", "layer_name", "type", "start_ns", "latency_ns", *COUNTERS, "occupancy")
    )


def kernels_by_name(trace: Trace) -> pl.DataFrame:
    """A10: kernels of one name together, those with the most time first."""
    trace.need("library")
    found = _summed(trace, ["name", "device"])
    share = 100 * pl.col("latency_ns") / pl.col("latency_ns").sum()
    return found.with_columns(share=share).sort("latency_ns", "name", descending=[True, False])


def kernels_by_layer(trace: Trace) -> pl.DataFrame:
    """A11: the kernels of each layer together, in execution order; those of no layer last."""
    trace.need("library")
    layers = (
        trace.layers.group_by("layer")
        .agg(pl.col("start_ns").median())
        .join(trace.calls.select("layer", "name", "type", "call"), on="layer")
    )
    ran = trace.of("library").layers.group_by("layer").agg(predictions=pl.len())
    return (
        _summed(trace, ["layer"], ran)
        .join(layers, on="layer", how="left")
        .sort("start_ns", "layer", nulls_last=True)
        .with_columns(pl.col("name").fill_null(OUTSIDE))
        .select("name", "type", "call", "kernels", "latency_ns", *COUNTERS, "occupancy")
    )


def metrics_by_layer(trace: Trace) -> pl.DataFrame:
    """A12: FLOPs, DRAM traffic and occupancy of each layer's kernels, and how many FLOPs a byte they do."""
    moved = pl.col("dram_read_bytes") + pl.col("dram_write_bytes")
    found = kernels_by_layer(trace).with_columns(intensity=pl.when(moved > 0).then(pl.col("flops") / moved))
    return found.select("name", "type", "call", *COUNTERS, "occupancy", "intensity")


def gpu_by_layer(trace: Trace) -> pl.DataFrame:
    """A13: each layer's own time on the host, when the GPU worked for it (``gpu_ns``; overlapping kernels once), and
    what of the former went by without (``non_gpu_ns``). A GPU that runs behind the host works outside of the span.
    """
    trace.need("library")
    key = ["prediction", "layer"]
    gpu = trace.kernels.filter(pl.col("device") == "gpu")
    busy = gpu.group_by(key).agg(gpu_ns=pl.col("busy_ns").sum(), inside_ns=pl.col("inside_ns").sum())
    spent = (
        trace.of("library")
        .layers.lazy()
        .select(*key, "self_ns")
        .join(busy.lazy(), on=key, how="left")
        .with_columns(pl.col("gpu_ns", "inside_ns").fill_null(0))
        .with_columns(non_gpu_ns=(pl.col("self_ns") - pl.col("inside_ns")).clip(0))
        .group_by("layer")
        .agg(pl.col("gpu_ns", "non_gpu_ns").median())
    ).collect()
    gpu_share = 100 * pl.col("gpu_ns") / (pl.col("gpu_ns") + pl.col("non_gpu_ns"))
    return (
        layer_information(trace)
        .join(spent, on="layer", maintain_order="left")
        .select("index", "name", "type", "call", "self_ns", "gpu_ns", "non_gpu_ns", gpu_share=gpu_share)
    )


def kernels_by_model(trace: Trace) -> pl.DataFrame:
    """A15: all kernels of a prediction together, beside its latency: one row a device."""
    trace.need("library")
    return _summed(trace, ["device"]).with_columns(
        prediction_ns=pl.lit(trace.of("library").latency_ns),
        share=100 * pl.col("latency_ns") / trace.of("library").latency_ns,
    )


def _summed(trace: Trace, keys: Sequence[str], ran: pl.DataFrame | None = None) -> pl.DataFrame:
    """What a prediction has for each value of ``keys``, as the module says.

    ``ran`` has the ``predictions`` that may have kernels for a value; without it, or for others, these are all.
    """
    counters = [pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias(name) for name in COUNTERS]
    weight = pl.col("latency_ns").sum()
    occupied = pl.when(pl.col("occupancy").null_count() == 0, weight > 0).then(
        (pl.col("occupancy") * pl.col("latency_ns")).sum() / weight
    )
    each = (
        trace.kernels.lazy()
        .group_by("prediction", *keys)
        .agg(pl.len().alias("kernels"), weight, *counters, occupancy=occupied)
    )
    sums = ("kernels", "latency_ns", *COUNTERS)
    found = each.group_by(keys).agg(pl.col(*sums, "occupancy").median(), having=pl.len()).collect()
    whole = pl.lit(trace.of("library").predictions.height)
    if ran is not None:
        found = found.join(ran, on=keys, how="left")
        whole = pl.col("predictions").fill_null(whole)
    return found.with_columns(pl.col(*sums) * (pl.col("having") / whole)).drop("having", "predictions", strict=False)
