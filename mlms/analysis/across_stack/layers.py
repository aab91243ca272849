"""Layers: what they are, and how long they take (A2 to A7 of XSP). Imports polars.

A latency is the median over the measured predictions: ``total_ns`` with the layers within, ``self_ns`` without them.
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
            share=100 * pl.col("self_ns") / trace.of("layer").latency_ns,
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
    """A6: the time that the layers of each type take themselves: their sum in a prediction, the median of these."""
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


def _by_type(trace: Trace, time: str) -> pl.DataFrame:
    typed = trace.layers.lazy().join(trace.calls.lazy().select("layer", "type"), on="layer")
    summed = typed.group_by("prediction", "type").agg(time_ns=pl.col(time).sum())
    counts = trace.calls.lazy().group_by("type").agg(count=pl.len())
    types = summed.group_by("type").agg(pl.col("time_ns").median()).join(counts.lazy(), on="type")
    rest = (
        trace.of("layer")
        .predictions.lazy()
        .join(summed.group_by("prediction").agg(pl.col("time_ns").sum()), on="prediction", how="left")
        .select(
            type=pl.lit(OUTSIDE),
            time_ns=(pl.col("latency_ns") - pl.col("time_ns").fill_null(0)).clip(0).median(),
            count=pl.lit(None, pl.UInt32),
        )
    )
    ordered = types.sort("time_ns", "type", descending=[True, False])
    frame = pl.concat([ordered.select("type", "count", "time_ns"), rest.select("type", "count", "time_ns")])
    return frame.with_columns(share=100 * pl.col("time_ns") / trace.of("layer").latency_ns).collect()
