"""The least time that a layer can take on this machine, and how far it is from it. Imports polars.

A layer must do its FLOPs at no more than the measured roof, and move its inputs, outputs and parameters at no more than
the measured bandwidth; it can do both at once, so its bound is the longer of the two. Which bandwidth depends on where
the data can be: inputs and outputs were just touched, so the one measured for a working set of their own size; a
parameter is met again only after all the others, so the one for all parameters together. The bound of a layer with
others in it counts what it computes beside them.
"""

from __future__ import annotations

import polars as pl

from mlms.analysis.across_stack.layers import OUTSIDE, layer_information, time_by_type
from mlms.analysis.across_stack.trace import Trace
from mlms.hooks.types import Roof

VIEWS = ("Identity", "Flatten", "Unflatten", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
"""Types of layers that, in inference, hand on their input and need not move it."""

PARTLY_READ = ("Embedding", "EmbeddingBag")
"""Types of layers that read some of their parameters only, no more than they put out."""


def layer_bounds(trace: Trace, roof: Roof) -> pl.DataFrame:
    """Each layer's time (``time_ns``: its own, on the GPU that of its kernels), bound and gap, in execution order.

    ``gap`` is time over bound, ``lost_ns`` their difference. Null where a layer's FLOPs and bytes are not known, or
    where it has others in it and computes nothing that is counted.

    Raises:
        InputError: the trace has no layers; so for ``bounds_by_type``.
    """
    found = layer_information(trace)
    parameters = int(found.filter("leaf")["parameter_bytes"].sum())
    moved = pl.col("input_bytes") + pl.col("output_bytes")
    activations = found.select(moved.fill_null(0)).to_series().to_list()
    rates = pl.Series([roof.bandwidth_of(size) for size in activations], dtype=pl.Float64)
    views, partly = pl.col("type").is_in(VIEWS), pl.col("type").is_in(PARTLY_READ)
    read = pl.when(partly).then(pl.col("output_bytes")).otherwise(pl.col("parameter_bytes").fill_null(0))
    memory = 1e9 * (moved / rates + read / roof.bandwidth_of(parameters))
    bounded = found.with_columns(
        compute_ns=1e9 * pl.col("self_flops") / roof.flops_per_s,
        memory_ns=pl.when(views).then(0.0).when(pl.col("leaf")).then(memory),
    ).with_columns(bound_ns=pl.max_horizontal("compute_ns", "memory_ns"))
    known = pl.when(pl.col("leaf") | (pl.col("bound_ns") > 0)).then(pl.col("bound_ns"))
    return bounded.with_columns(bound_ns=known).select(
        *("index", "name", "type", "call", "predictions", "time_ns", "compute_ns", "memory_ns", "bound_ns"),
        gap=_ratio(pl.col("time_ns"), pl.col("bound_ns")),
        lost_ns=pl.col("time_ns") - pl.col("bound_ns"),
        limited_by=pl.when(pl.col("bound_ns") > 0).then(
            pl.when(pl.col("compute_ns") >= pl.col("memory_ns").fill_null(0))
            .then(pl.lit("compute"))
            .otherwise(pl.lit("memory"))
        ),
    )


def bounds_by_type(trace: Trace, roof: Roof | None) -> pl.DataFrame:
    """The time of the layers of each type, the sum of their bounds and the gap, the most time first.

    ``limited_by`` is what limits the larger part of the bound. Without ``roof`` these columns are null.
    """
    times = time_by_type(trace)
    if roof is None:
        nothing = [pl.lit(None, pl.Float64).alias(name) for name in ("bound_ns", "gap", "lost_ns")]
        return times.with_columns(*nothing, pl.lit(None, pl.String).alias("limited_by"))
    # A layer that runs in some predictions only counts for as many.
    part = pl.col("bound_ns") * pl.col("predictions") / trace.of("layer").predictions.height
    by_compute = part.filter(pl.col("limited_by") == "compute").sum()
    bounds = (
        layer_bounds(trace, roof)
        .drop_nulls("bound_ns")
        .group_by("type")
        .agg(
            bound_ns=part.sum(),
            limited_by=pl.when(part.sum() > 0).then(
                pl.when(by_compute > part.sum() / 2).then(pl.lit("compute")).otherwise(pl.lit("memory"))
            ),
        )
    )
    return times.join(bounds, on="type", how="left", maintain_order="left").select(
        *("type", "count", "time_ns", "share", "bound_ns"),
        gap=_ratio(pl.col("time_ns"), pl.col("bound_ns")),
        lost_ns=pl.col("time_ns") - pl.col("bound_ns"),
        limited_by="limited_by",
    )


def model_bound_ns(by_type: pl.DataFrame) -> float | None:
    """The least time of a prediction: its layers' bounds, one after another; from ``bounds_by_type``."""
    known = by_type.filter(pl.col("type") != OUTSIDE)["bound_ns"].drop_nulls()
    return float(known.sum()) if len(known) else None


def _ratio(time: pl.Expr, bound: pl.Expr) -> pl.Expr:
    return pl.when(bound > 0).then(time / bound)
