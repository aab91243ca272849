"""Rooflines: FLOPs a byte against FLOPs a second (A9, A14 and A15 of XSP; Williams et al., CACM 52(4), 2009).

Bytes are the kernels' DRAM traffic where it was counted, else the inputs, outputs and parameters of layers, each once a
call: a module that is called again reads its parameters again.
Imports polars.
"""

from __future__ import annotations

import polars as pl

from mlms.analysis.across_stack.kernels import COUNTERS, kernels_by_layer, kernels_by_name
from mlms.analysis.across_stack.layers import OUTSIDE, layer_information, median_sums
from mlms.analysis.across_stack.trace import Trace
from mlms.hooks.types import Roof

_POINT = ("flops", "bytes", "latency_ns", "intensity", "flops_per_s", "memory_bound", "attainable_flops_per_s")
_FEW = 3
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
    return _points(_layers(trace).filter("leaf"), roof).select("name", "type", "call", *_POINT, "efficiency")


def model_roofline(trace: Trace, roof: Roof | None = None) -> pl.DataFrame:
    """A15: one point, the FLOPs and bytes of the layers that the median prediction runs over its latency.

    With layers that have others in them, what these compute themselves: its FLOPs are known, its bytes only where its
    kernels were counted. Where FLOPs or bytes of a part aren't known, those of the model aren't; ``unknown`` names the
    parts.
    """
    layers = _layers(trace)
    beside = _beside_layers(trace, layers)
    sums = median_sums(trace, layers.select("layer", pl.col("flops", "bytes").fill_null(0)))
    parts = pl.concat([layers.select("name", "flops", "bytes"), beside], how="vertical_relaxed")
    known = parts.select(pl.col("flops", "bytes").is_not_null().all())
    whole = sums.select(
        *(
            pl.when(known[name].item()).then(pl.col(name) + beside[name].fill_null(0).sum()).alias(name)
            for name in ("flops", "bytes")
        ),
        latency_ns=pl.lit(trace.latency_ns),
        unknown=pl.lit(_named(parts), pl.String),
    )
    return _points(whole, roof).select(*_POINT, "efficiency", "unknown")


def _layers(trace: Trace) -> pl.DataFrame:
    """``layer_information`` with what each computes and moves itself, in ``flops`` and ``bytes``."""
    moved = pl.sum_horizontal("input_bytes", "output_bytes", "parameter_bytes", ignore_nulls=False)
    layers = layer_information(trace).with_columns(
        flops="self_flops",
        # What is computed beside the layers within works on tensors that nobody told of.
        bytes=pl.when("leaf").then(moved).when(pl.col("self_flops") == 0).then(0),
        latency_ns=pl.col("time_ns"),
    )
    if not trace.on_gpu:
        return layers
    counted = kernels_by_layer(trace).drop_nulls(COUNTERS)
    found = counted.select("name", "call", counted_flops="flops", counted_bytes=_MOVED)
    return layers.join(found, on=["name", "call"], how="left", maintain_order="left").with_columns(
        flops=pl.coalesce("counted_flops", "flops"), bytes=pl.coalesce("counted_bytes", "bytes")
    )


def _beside_layers(trace: Trace, layers: pl.DataFrame) -> pl.DataFrame:
    """What the model computes outside of all layers: name, flops and bytes, in one row or none.

    By its kernels where they were counted; else the FLOPs that the whole model was counted with and its layers were
    not, where all predictions run the same layers.
    """
    schema = {"name": pl.String, "flops": pl.Float64, "bytes": pl.Float64}
    if trace.on_gpu:
        counted = kernels_by_layer(trace).drop_nulls(COUNTERS)
        if counted.height:  # what a GPU counts isn't held against what the framework does
            outside = counted.filter(pl.col("type").is_null(), pl.col("name") == OUTSIDE)
            return outside.select("name", "flops", bytes=_MOVED).cast(schema)  # type: ignore[arg-type]
    sample = (trace.run.record.get("resources") or {}).get("flops_per_sample")
    size = trace.predictions["batch_size"][0]
    everywhere = (layers["predictions"] == trace.of("layer").predictions.height).all()
    if sample is None or size is None or not everywhere or layers["flops"].null_count():
        return pl.DataFrame(schema=schema)
    rest = sample * size - float(layers["flops"].sum())
    rows = [(OUTSIDE, rest, None)] if rest >= 1 else []
    return pl.DataFrame(rows, schema=schema, orient="row")


def _named(parts: pl.DataFrame) -> str | None:
    """The first parts whose FLOPs or bytes aren't known, and how many more there are."""
    names = parts.filter(pl.any_horizontal(pl.col("flops", "bytes").is_null()))["name"].unique(maintain_order=True)
    more = [f"{len(names) - _FEW:,} more"] if len(names) > _FEW else []
    return ", ".join([*names[:_FEW], *more]) or None


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
