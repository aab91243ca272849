"""The least time that a layer can take on this machine, and how far it is from it. Imports polars.

A layer must do its FLOPs at no more than the measured roof, and move its inputs, outputs and parameters at no more than
the measured bandwidth; it can do both at once, so its bound is the longer of the two. Which bandwidth depends on where
the data can be: inputs and outputs were just touched, so the one measured for a working set of their own size; a
parameter is met again only after all the others, so the one for all parameters together. A module that is called again
reads its parameters again, from wherever they may be by then: the bandwidth is that for its own parameters. The bound
of a layer with others in it counts what it computes beside them.
"""

from __future__ import annotations

import polars as pl

from mlms.analysis.across_stack.layers import (
    layer_information,
    median_sums,
    part_of_prediction,
    summed_by_type,
    time_by_type,
)
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
    return _bounded(trace, roof).select(
        *("index", "name", "type", "call", "predictions", "time_ns", "compute_ns", "memory_ns", "bound_ns"),
        gap=_ratio(pl.col("time_ns"), pl.col("bound_ns")),
        lost_ns=pl.col("time_ns") - pl.col("bound_ns"),
        limited_by="limited_by",
    )


def bounds_by_type(trace: Trace, roof: Roof | None) -> pl.DataFrame:
    """The time of the layers of each type, the sum of their bounds and the gap, the most time first.

    Layers that run in some predictions only count for as many. Where only some layers of a type have a bound, gap and
    lost time are those of these. ``limited_by`` is what limits the larger part of the bound. Without ``roof`` these
    columns are null.
    """
    times = time_by_type(trace)
    if roof is None:
        nothing = [pl.lit(None, pl.Float64).alias(name) for name in ("bound_ns", "gap", "lost_ns")]
        return times.with_columns(*nothing, pl.lit(None, pl.String).alias("limited_by"))
    known = _bounded(trace, roof).drop_nulls("bound_ns")
    part = pl.col("bound_ns") * part_of_prediction(trace)
    by_compute = part.filter(pl.col("limited_by") == "compute").sum()
    bounds = known.group_by("type").agg(
        bound_ns=part.sum(),
        limited_by=pl.when(part.sum() > 0).then(
            pl.when(by_compute > part.sum() / 2).then(pl.lit("compute")).otherwise(pl.lit("memory"))
        ),
    )
    bounded = summed_by_type(trace, "time_ns", known["layer"]).rename({"time_ns": "bounded_ns"})
    return (
        times.join(bounds, on="type", how="left", maintain_order="left")
        .join(bounded, on="type", how="left", maintain_order="left")
        .select(
            *("type", "count", "time_ns", "share", "bound_ns"),
            gap=_ratio(pl.col("bounded_ns"), pl.col("bound_ns")),
            lost_ns=pl.col("bounded_ns") - pl.col("bound_ns"),
            limited_by="limited_by",
        )
    )


def model_bound_ns(trace: Trace, roof: Roof) -> float | None:
    """The least time of the median prediction: the bounds of the layers that it runs, one after another.

    None where no layer has a bound.
    """
    known = _bounded(trace, roof).drop_nulls("bound_ns").select("layer", "bound_ns")
    return float(median_sums(trace, known)["bound_ns"].item()) if known.height else None


def _bounded(trace: Trace, roof: Roof) -> pl.DataFrame:
    """``layer_information`` with compute_ns, memory_ns, bound_ns and limited_by."""
    found = layer_information(trace)
    each_once = found.filter("leaf").unique("name")
    parameters = int(each_once["parameter_bytes"].sum())
    moved = pl.col("input_bytes") + pl.col("output_bytes")
    activations = found.select(moved.fill_null(0)).to_series().to_list()
    own = found["parameter_bytes"].fill_null(0).to_list()
    held = [size if call else parameters for size, call in zip(own, found["call"], strict=True)]
    rates, weight_rates = (
        pl.Series([roof.bandwidth_of(size) for size in sizes], dtype=pl.Float64) for sizes in (activations, held)
    )
    views, partly = pl.col("type").is_in(VIEWS), pl.col("type").is_in(PARTLY_READ)
    read = pl.when(partly).then(pl.col("output_bytes")).otherwise(pl.col("parameter_bytes").fill_null(0))
    memory = 1e9 * (moved / rates + read / weight_rates)
    bounded = found.with_columns(
        compute_ns=1e9 * pl.col("self_flops") / roof.flops_per_s,
        memory_ns=pl.when(views).then(0.0).when(pl.col("leaf")).then(memory),
    ).with_columns(bound_ns=pl.max_horizontal("compute_ns", "memory_ns"))
    known = pl.when(pl.col("leaf") | (pl.col("bound_ns") > 0)).then(pl.col("bound_ns"))
    compute = pl.col("compute_ns") >= pl.col("memory_ns").fill_null(0)
    return bounded.with_columns(bound_ns=known).with_columns(
        limited_by=pl.when(pl.col("bound_ns") > 0).then(
            pl.when(compute).then(pl.lit("compute")).otherwise(pl.lit("memory"))
        )
    )


def _ratio(time: pl.Expr, bound: pl.Expr) -> pl.Expr:
    return pl.when(bound > 0).then(time / bound)
