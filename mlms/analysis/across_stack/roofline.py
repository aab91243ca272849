"""Rooflines: FLOPs a byte against FLOPs a second (A9, A14 and A15 of XSP; Williams et al., CACM 52(4), 2009).

Bytes are the kernels' DRAM traffic where it was counted, else the inputs, outputs and parameters of layers, each once.
Imports polars.
"""

from __future__ import annotations

import polars as pl

from mlms.analysis.across_stack.kernels import COUNTERS, kernels_by_layer, kernels_by_name
from mlms.analysis.across_stack.layers import layer_information
from mlms.analysis.across_stack.trace import Trace
from mlms.hooks.types import Roof

_POINT = ("flops", "bytes", "latency_ns", "intensity", "flops_per_s", "memory_bound", "attainable_flops_per_s")
_MOVED = pl.col("dram_read_bytes") + pl.col("dram_write_bytes")


def kernel_roofline(trace: Trace, roof: Roof | None = None) -> pl.DataFrame:
    """A9: a point for each kernel's name. Without ``roof`` the roof's columns are null; so for the others.

    Raises:
        InputError: the trace has no kernels.
    """
    frame = kernels_by_name(trace).with_columns(bytes=_MOVED)
    return _points(frame, roof).select("name", "device", *_POINT, "efficiency")


def layer_roofline(trace: Trace, roof: Roof | None = None) -> pl.DataFrame:
    """A14: a point for each layer without others in it; by its kernels where their FLOPs and traffic were counted.

    Raises:
        InputError: the trace has no layers; so for ``model_roofline``.
    """
    return _points(_layers(trace), roof).select("name", "type", "call", *_POINT, "efficiency")


def model_roofline(trace: Trace, roof: Roof | None = None) -> pl.DataFrame:
    """A15: one point, the sum of the layers' FLOPs and bytes over the latency of a prediction."""
    whole = _layers(trace).select(pl.col("flops", "bytes").sum(), latency_ns=pl.lit(trace.latency_ns))
    return _points(whole, roof).select(*_POINT, "efficiency")


def _layers(trace: Trace) -> pl.DataFrame:
    moved = pl.sum_horizontal("input_bytes", "output_bytes", "parameter_bytes", ignore_nulls=False)
    leaves = layer_information(trace).filter("leaf").with_columns(bytes=moved, latency_ns=pl.col("time_ns"))
    if not trace.on_gpu:
        return leaves
    counted = kernels_by_layer(trace).drop_nulls(COUNTERS)
    found = counted.select("name", "call", counted_flops="flops", counted_bytes=_MOVED)
    return leaves.join(found, on=["name", "call"], how="left", maintain_order="left").with_columns(
        flops=pl.coalesce("counted_flops", "flops"), bytes=pl.coalesce("counted_bytes", "bytes")
    )


def _points(frame: pl.DataFrame, roof: Roof | None) -> pl.DataFrame:
    flops, moved = pl.col("flops"), pl.col("bytes")
    known = frame.with_columns(
        intensity=pl.when(moved > 0).then(flops / moved),
        flops_per_s=pl.when(pl.col("latency_ns") > 0).then(1e9 * flops / pl.col("latency_ns")),
    )
    top = roof.flops_per_s if roof else None
    slope = roof.bandwidth if roof else None
    attainable = pl.min_horizontal(pl.lit(top, pl.Float64), pl.col("intensity") * pl.lit(slope, pl.Float64))
    return known.with_columns(
        memory_bound=pl.col("intensity") < (top / slope if top and slope else pl.lit(None, pl.Float64)),
        attainable_flops_per_s=pl.when(pl.col("intensity").is_not_null()).then(attainable),
    ).with_columns(
        efficiency=pl.when(pl.col("attainable_flops_per_s") > 0).then(
            100 * pl.col("flops_per_s") / pl.col("attainable_flops_per_s")
        )
    )
