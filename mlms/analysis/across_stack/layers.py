"""Layers: what they are, and how long they take (A2 to A7 of XSP). Imports polars.

A latency is the median over the measured predictions: ``total_ns`` with the layers within, ``self_ns`` without them.
A layer that runs in some predictions only has the medians of these, and of a prediction it takes as much less as they
are fewer: ``part_of_prediction``.
"""

from __future__ import annotations

import polars as pl

from mlms.analysis.across_stack.trace import Trace

OUTSIDE = "(outside of layers)"


def layer_information(trace: Trace) -> pl.DataFrame:
    """A2: each layer and call of it in execution order, with all that is known of it.

    Raises:
        InputError: the trace has no layers; so for the others.
    """
    trace.need("layer")
    medians = [pl.col(name).median() for name in ("start_ns", "total_ns", "self_ns", "time_ns")]
    timed = trace.layers.group_by("layer").agg(*medians, predictions=pl.len())
    nested = pl.col("flops") - pl.col("below_flops").fill_null(0)
    below = trace.calls.drop_nulls("parent").group_by(layer="parent").agg(below_flops=pl.col("flops").sum())
    return (
        trace.calls.join(timed, on="layer")
        .join(below, on="layer", how="left")
        .sort("start_ns", "layer")
        .with_row_index("index")
        .with_columns(
            self_flops=nested.clip(0),
            share=share_of_prediction(trace, pl.col("self_ns") * part_of_prediction(trace)),
        )
        .select(
            *("index", "layer", "name", "type", "call", "leaf", "predictions", "input_shapes", "output_shapes"),
            *("parameters", "parameter_bytes", "input_bytes", "output_bytes", "flops", "self_flops"),
            *("start_ns", "total_ns", "self_ns", "time_ns", "share"),
        )
    )


def layer_latency(trace: Trace) -> pl.DataFrame:
    """A3: how long each layer takes, in execution order."""
    return layer_information(trace).select("index", "name", "type", "call", "total_ns", "self_ns", "share")


def layer_memory(trace: Trace) -> pl.DataFrame:
    """A4: what each layer allocates for its outputs and holds in parameters, in execution order; leaves only, since
    the output of a layer with others within is made by one of them.
    """
    return (
        layer_information(trace)
        .filter("leaf")
        .with_columns(memory_bytes=pl.col("output_bytes"))
        .select("index", "name", "type", "call", "memory_bytes", "parameter_bytes")
    )


def layer_types(trace: Trace) -> pl.DataFrame:
    """A5: how many layer calls there are of each type."""
    trace.need("layer")
    counted = trace.calls.group_by("type").agg(count=pl.len())
    return counted.with_columns(share=100 * pl.col("count") / trace.calls.height).sort(
        "count", "type", descending=[True, False]
    )


def latency_by_type(trace: Trace) -> pl.DataFrame:
    """A6: the time that the layers of each type take themselves: their sum in a prediction, the median of these.

    Where predictions differ in which of the type's layers they run, the mean of the medians of those that run the same,
    weighted by their number.
    """
    trace.need("layer")
    return _by_type(trace, "self_ns").rename({"time_ns": "self_ns"})


def time_by_type(trace: Trace) -> pl.DataFrame:
    """The same by ``time_ns``: on the GPU, where its kernels were recorded."""
    trace.need("layer")
    return _by_type(trace, "time_ns")


def memory_by_type(trace: Trace) -> pl.DataFrame:
    """A7: what the layers of each type allocate for their outputs and hold in parameters."""
    sums = [pl.col(name).sum() for name in ("memory_bytes", "parameter_bytes")]
    summed = layer_memory(trace).group_by("type").agg(*sums, count=pl.len())
    share = 100 * pl.col("memory_bytes") / pl.col("memory_bytes").sum()
    return summed.select("type", "count", "memory_bytes", "parameter_bytes", share=share).sort(
        "memory_bytes", "type", descending=[True, False]
    )


def part_of_prediction(trace: Trace) -> pl.Expr:
    """The part of the predictions that a layer (of ``layer_information``) runs in, 0 to 1."""
    return pl.col("predictions") / trace.of("layer").predictions.height


def share_of_prediction(trace: Trace, time: pl.Expr) -> pl.Expr:
    """Times of the parts of a prediction in percent of its latency, or of their sum where that is more: medians of
    parts need not add up to that of the whole.
    """
    return 100 * time / pl.max_horizontal(pl.lit(_latency_ns(trace)), time.sum())


def summed_by_type(trace: Trace, time: str, layers: pl.Series | None = None) -> pl.DataFrame:
    """``time_ns`` of a prediction by type, as in ``latency_by_type``; of these ``layers`` only."""
    chosen = trace.calls.lazy().select("layer", "type")
    if layers is not None:
        chosen = chosen.filter(pl.col("layer").is_in(layers.implode()))
    count = trace.of("layer").predictions.height
    each = (
        trace.layers.lazy()
        .join(chosen, on="layer")
        .group_by("prediction", "type")
        .agg(time_ns=pl.col(time).sum(), ran=_RAN)
    )
    alike = each.group_by("type", "ran").agg(time_ns=pl.col("time_ns").median() * pl.len() / count)
    return alike.group_by("type").agg(pl.col("time_ns").sum()).collect()


def median_sums(trace: Trace, figures: pl.DataFrame) -> pl.DataFrame:
    """Sums of ``figures`` (columns beside ``layer``) over the layers that a prediction runs: their medians, one row."""
    names = [name for name in figures.columns if name != "layer"]
    seen = trace.of("layer")
    sums = seen.layers.lazy().join(figures.lazy(), on="layer").group_by("prediction").agg(pl.col(names).sum())
    each = seen.predictions.lazy().select("prediction").join(sums, on="prediction", how="left")
    return each.select(pl.col(names).fill_null(0).median()).collect()


_RAN = pl.col("layer").hash().sum()
"""A number for which layers ran, in whatever order."""


def _latency_ns(trace: Trace) -> float:
    """A prediction's latency, of those that run the same layers the median, as in ``latency_by_type``."""
    seen = trace.of("layer")
    ran = seen.layers.lazy().group_by("prediction").agg(ran=_RAN)
    each = seen.predictions.lazy().join(ran, on="prediction", how="left").group_by("ran")
    alike = each.agg(time_ns=pl.col("latency_ns").median() * pl.len() / seen.predictions.height)
    return float(alike.select(pl.col("time_ns").sum()).collect().item())


def _by_type(trace: Trace, time: str) -> pl.DataFrame:
    counts = trace.calls.group_by("type").agg(count=pl.len())
    types = summed_by_type(trace, time).join(counts, on="type").sort("time_ns", "type", descending=[True, False])
    within = trace.layers.lazy().group_by("prediction").agg(time_ns=pl.col(time).sum())
    rest = (
        trace.of("layer")
        .predictions.lazy()
        .join(within, on="prediction", how="left")
        .select(
            type=pl.lit(OUTSIDE),
            count=pl.lit(None, pl.UInt32),
            time_ns=(pl.col("latency_ns") - pl.col("time_ns").fill_null(0)).clip(0).median(),
        )
    ).collect()
    frame = pl.concat([types.select("type", "count", "time_ns"), rest])
    return frame.with_columns(share=share_of_prediction(trace, pl.col("time_ns")))
