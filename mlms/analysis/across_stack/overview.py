"""One answer to "which layer types take the time, and how far is each from its bound"; plain data for every face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from mlms.analysis.across_stack.bound import bounds_by_type, layer_bounds, model_bound_ns
from mlms.analysis.across_stack.layers import (
    OUTSIDE,
    layer_information,
    part_of_prediction,
    share_of_prediction,
)
from mlms.analysis.across_stack.provenance import provenance
from mlms.analysis.across_stack.roofs import way_of
from mlms.analysis.across_stack.trace import Trace, read_trace
from mlms.hooks.types import Roof
from mlms.runs.run import Run
from mlms.tracing.levels import depth

NOT_MEASURED = "'mlms analyze RUN' measures them, once, on the machine of this run and where its framework can"


@dataclass(frozen=True, slots=True)
class Overview:
    """``run`` is its name, ``way`` how its model was run, in words.

    ``device_time`` is "host" on a CPU or a server, "kernels" where layers are timed by their GPU kernels, "launches" on
    a GPU without.

    ``types`` are rows of ``bounds_by_type``, ``layers`` of ``layer_bounds`` with a share: by lost time, or by time
    where no bound is known. ``other`` counts types and layers that were left out. Times in ns.
    """

    run: str
    way: str
    latency_ns: float
    predictions: int
    batch_size: int | None
    bound_ns: float | None
    roof: Roof | None
    no_roof: str | None
    """Why there is no ``roof``, and so no bound."""
    device_time: str
    types: Sequence[Mapping[str, Any]]
    layers: Sequence[Mapping[str, Any]]
    other: Mapping[str, int]
    measured: str | None
    """Which run of the scenario the layers come from, in a sentence; see ``provenance``."""

    @property
    def data(self) -> dict[str, Any]:
        """The whole of it as plain values, with ``gap``: a prediction's latency over its bound."""
        return {**asdict(self), "gap": self.latency_ns / self.bound_ns if self.bound_ns else None}


def overview(trace: Trace, roof: Roof | None, top: int = 10, no_roof: str = NOT_MEASURED) -> Overview:
    """Layer types by time and the layers that lose most, ``top`` of the former, half as many of the latter; 0: all.

    ``no_roof`` says why there is none.

    Raises:
        InputError: the trace has no layers.
    """
    types, part = bounds_by_type(trace, roof), part_of_prediction(trace)
    if roof is None:
        empty = [pl.lit(None, pl.Float64).alias(name) for name in ("bound_ns", "gap", "lost_ns")]
        layers = layer_information(trace).with_columns(*empty, pl.lit(None, pl.String).alias("limited_by"))
        layers = layers.sort(pl.col("time_ns") * part, descending=True, nulls_last=True)
    else:
        layers = layer_bounds(trace, roof).sort(pl.col("lost_ns") * part, descending=True, nulls_last=True)
    layers = layers.with_columns(share=share_of_prediction(trace, pl.col("time_ns") * part))
    outside = types.filter(pl.col("type") == OUTSIDE)
    inside = types.filter(pl.col("type") != OUTSIDE)
    most = top or types.height + layers.height
    fewer = -(-most // 2) if top else most
    return Overview(
        run=trace.run.name,
        way=str(way_of(trace.run.record) or ""),
        latency_ns=trace.latency_ns,
        predictions=trace.predictions.height,
        batch_size=trace.predictions["batch_size"][0],
        bound_ns=None if roof is None else model_bound_ns(trace, roof),
        roof=roof,
        no_roof=no_roof if roof is None else None,
        device_time=_device_time(trace),
        types=pl.concat([inside.head(most), outside]).to_dicts(),
        layers=layers.head(fewer).to_dicts(),
        measured=provenance(trace.run.record, "layer"),
        other={"types": max(inside.height - most, 0), "layers": max(layers.height - fewer, 0)},
    )


def _device_time(trace: Trace) -> str:
    if trace.on_gpu:
        return "kernels"
    device = (trace.run.record.get("model") or {}).get("describe", {}).get("device") or ""
    return "launches" if str(device).startswith("cuda") else "host"


def overview_if_any(run: Run, roof: Roof | None, top: int = 10) -> Overview | None:
    """The same for a report: None where the run has no layers to tell of."""
    if depth(run.record["trace"]["level"]) < depth("layer"):
        return None
    trace = read_trace(run)
    return overview(trace, roof, top) if trace.layers.height else None
