"""Which layers explain the difference between two runs. Imports polars."""

from __future__ import annotations

import numpy as np
import polars as pl

from mlms.analysis.across_stack.layers import (
    OUTSIDE,
    latency_by_type,
    layer_information,
    part_of_prediction,
    time_by_type,
)
from mlms.analysis.across_stack.trace import Trace
from mlms.analysis.intervals import quantile_interval

_KEY = ["name", "call"]


def layer_difference(before: Trace, after: Trace) -> pl.DataFrame:
    """Layers of two runs, matched by name and call, the one that changed most first.

    ``before_ns`` and ``after_ns`` are medians of the layer's own time (its GPU time where both runs have it), as much
    less as it runs in fewer predictions than all, null in a run that lacks the layer. ``explained`` is the difference
    in percent of that between the predictions' medians; since these are medians, it adds up to 100 only where all
    predictions of a run are alike.
    ``certain`` says whether the two medians' 95% intervals lie apart. The last row is what no layer took.

    Raises:
        InputError: one of the runs has no layers; so for ``difference_by_type``.
    """
    time = _basis(before, after)
    sides = [
        layer_information(trace)
        .join(_intervals(trace, time), on="layer")
        .with_columns(pl.col(time, "low", "high") * part_of_prediction(trace))
        .select(*_KEY, "type", "index", pl.col(time).alias("ns"), "low", "high")
        for trace in (before, after)
    ]
    joined = sides[0].join(sides[1], on=_KEY, how="full", coalesce=True, suffix="_after")
    one_sided = pl.col("ns").is_null() | pl.col("ns_after").is_null()
    apart = (pl.col("low") > pl.col("high_after")) | (pl.col("low_after") > pl.col("high"))
    layers = joined.select(
        *_KEY,
        type=pl.coalesce("type", "type_after"),
        before_ns="ns",
        after_ns="ns_after",
        difference_ns=pl.col("ns_after").fill_null(0) - pl.col("ns").fill_null(0),
        certain=pl.when(one_sided).then(True).otherwise(apart),
    )
    changed = layers.sort(pl.col("difference_ns").abs(), "name", "call", descending=[True, False, False])
    times = (_times(trace, time) for trace in (before, after))
    rest = [frame.filter(pl.col("type") == OUTSIDE)[time].item() for frame in times]
    outside = pl.DataFrame(
        {
            **{"name": [OUTSIDE], "call": [None], "type": [OUTSIDE], "before_ns": rest[:1], "after_ns": rest[1:]},
            **{"difference_ns": [rest[1] - rest[0]], "certain": [None]},
        },
        schema=changed.schema,
    )
    return pl.concat([changed, outside]).with_columns(explained=_explained(before, after))


def difference_by_type(before: Trace, after: Trace) -> pl.DataFrame:
    """The same for the layers of each type: medians of their sums in a prediction; ``certain`` counts layers whose
    own change is certain.
    """
    each = layer_difference(before, after)
    time = _basis(before, after)
    sides = [_times(trace, time).select("type", time) for trace in (before, after)]
    counts = each.group_by("type").agg(pl.len().alias("count"), pl.col("certain").sum())
    difference = pl.col("after_ns").fill_null(0) - pl.col("before_ns").fill_null(0)
    return (
        sides[0]
        .rename({time: "before_ns"})
        .join(sides[1].rename({time: "after_ns"}), on="type", how="full", coalesce=True)
        .join(counts, on="type")
        .with_columns(difference_ns=difference)
        .with_columns(explained=_explained(before, after))
        .sort(pl.col("type") == OUTSIDE, pl.col("difference_ns").abs(), "type", descending=[False, True, False])
        .select("type", "count", "before_ns", "after_ns", "difference_ns", "explained", "certain")
    )


def _basis(before: Trace, after: Trace) -> str:
    return "time_ns" if before.on_gpu and after.on_gpu else "self_ns"


def _explained(before: Trace, after: Trace) -> pl.Expr:
    whole = after.latency_ns - before.latency_ns
    return 100 * pl.col("difference_ns") / whole if whole else pl.lit(None, pl.Float64)


def _times(trace: Trace, time: str) -> pl.DataFrame:
    return time_by_type(trace) if time == "time_ns" else latency_by_type(trace)


def _intervals(trace: Trace, time: str) -> pl.DataFrame:
    """The 95% interval of each layer's median."""
    rows = []
    ordered = trace.layers.sort("layer", "prediction")
    values = ordered[time].to_numpy()
    layers, first = np.unique(ordered["layer"].to_numpy(), return_index=True)
    for layer, series in zip(layers, np.split(values, first[1:]), strict=True):
        interval = quantile_interval(series, 0.5)
        rows.append((int(layer), interval.low, interval.high))
    return pl.DataFrame(rows, schema={"layer": pl.Int64, "low": pl.Float64, "high": pl.Float64}, orient="row")
