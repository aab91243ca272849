"""A run's spans as the analyses take them: numbers a span, and texts only once. Imports polars.

Only measured predictions count: those below the step ``warm_up`` are left out, and so are those of another batch size
than most have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlms.analysis.across_stack.ancestry import Integers, at_level, nearest_above, occurrences
from mlms.errors import InputError, Place
from mlms.runs.directory import SPANS
from mlms.runs.run import Run
from mlms.tracing import attributes as attribute_text
from mlms.tracing.levels import depth
from mlms.tracing.spans import Spans, StoredSpans
from mlms.tracing.structure import Structure, structure

UNKNOWN = "unknown"
"""The type of a layer whose framework tells none."""

_CHUNK = 4096
_SIZES = ("parameters", "parameter_bytes", "input_bytes", "output_bytes", "flops")
_OF_BATCH = ("input_shapes", "output_shapes", "input_bytes", "output_bytes", "flops")
_KERNEL = {
    "flops": "mlms.gpu.flops",
    "dram_read_bytes": "mlms.gpu.dram_read_bytes",
    "dram_write_bytes": "mlms.gpu.dram_write_bytes",
    "occupancy": "mlms.gpu.occupancy",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What was recorded of the measured predictions of one run of the scenario, traced down to ``level``.

    ``predictions``: prediction (a number), batch_size (null if not recorded), latency_ns.
    ``layers``: a row a layer span: prediction, layer, start_ns (since the prediction's start), total_ns, self_ns
    (without the layers within), time_ns (``self_ns``, or what the GPU worked for it, where its kernels were recorded).
    ``kernels``: a row for each GPU kernel and CPU library primitive: prediction, layer (null outside of layers), name,
    device ("gpu" or "cpu"), start_ns, latency_ns, busy_ns (without what overlaps earlier kernels of the same layer),
    inside_ns (the part of it within the layer's span), flops, dram_read_bytes, dram_write_bytes, occupancy (0 to 1).
    """

    level: str
    predictions: pl.DataFrame
    layers: pl.DataFrame
    kernels: pl.DataFrame

    @property
    def latency_ns(self) -> float:
        """The median prediction's."""
        return float(np.median(self.predictions["latency_ns"].to_numpy()))

    def has(self, level: str) -> bool:
        return {"model": self.predictions, "layer": self.layers, "library": self.kernels}[level].height > 0


@dataclass(frozen=True, slots=True)
class Trace:
    """What was recorded of the measured predictions, in one run of the scenario or, leveled, in several.

    ``calls``: a row for each layer and call of it in a prediction, in no order: layer (a number), name, call (from 0),
    type, parent (the layer around it, null for none), leaf, parameters, parameter_bytes, input_bytes, output_bytes,
    flops, input_shapes, output_shapes (null where the framework doesn't tell, or told them of another batch size). They
    are the same in all runs: a layer is its name and call.
    ``seen`` are the runs, the shallowest first. Each level's figures come from the shallowest that has them (XSP's
    leveled experimentation), since what records a level lengthens all that is above it.
    """

    run: Run
    calls: pl.DataFrame
    seen: tuple[Seen, ...]

    def of(self, level: str) -> Seen:
        """The shallowest run of the scenario that has spans of this level; without one the deepest."""
        return next((seen for seen in self.seen if seen.has(level)), self.seen[-1])

    @property
    def predictions(self) -> pl.DataFrame:
        return self.of("model").predictions

    @property
    def layers(self) -> pl.DataFrame:
        return self.of("layer").layers

    @property
    def kernels(self) -> pl.DataFrame:
        return self.of("library").kernels

    @property
    def latency_ns(self) -> float:
        """The median prediction's, in the shallowest run."""
        return self.of("model").latency_ns

    @property
    def on_gpu(self) -> bool:
        """Whether GPU kernels were recorded, so that layers are timed by them."""
        return bool((self.kernels["device"] == "gpu").any())

    def need(self, level: str) -> None:
        """Raises InputError, with the mend, where spans of this level are missing."""
        if not self.of(level).has(level):
            raise _without(self.run, level)


def read_trace(run: Run) -> Trace:
    """Read a run's ``spans.parquet``, in memory of some hundred bytes a span.

    Raises:
        InputError: it was traced at a level without predictions.
        StorageError: the file is missing or damaged.
    """
    if depth(_level(run)) < depth("model"):
        raise _without(run, "model")
    spans = StoredSpans(run.path / SPANS)
    tree = structure(spans)
    predicted, sizes, levels = _predictions(spans, tree, _level(run))
    chosen = np.zeros(len(tree.parent), bool)
    chosen[predicted] = True
    number = np.full(len(tree.parent) + 1, -1, np.int64)  # the last one is for "none"
    number[predicted] = np.arange(len(predicted))
    of = number[nearest_above(tree, chosen)]
    predictions = pl.DataFrame(
        {
            "prediction": np.arange(len(predicted)),
            "batch_size": pl.Series(sizes, dtype=pl.Int64),
            "latency_ns": (tree.end - tree.start)[predicted],
            "level": pl.Series(levels, dtype=pl.String),
        }
    )
    began = tree.start[predicted]
    calls, layers, code = _layers(spans, tree, of, began, next(iter(sizes), None))
    kernels = _kernels(spans, tree, of, began, code)
    return Trace(run, calls, tuple(_seen(predictions, layers, kernels)))


def _seen(predictions: pl.DataFrame, layers: pl.DataFrame, kernels: pl.DataFrame) -> Iterator[Seen]:
    """The same for each run of the scenario.

    Layers that one times on the host are timed by another's kernels, and kernels that it didn't count have the mean
    counters of those of the same name and layer that another did.
    """
    busy = kernels.filter(pl.col("device") == "gpu", pl.col("layer").is_not_null())
    busy = busy.group_by("prediction", "layer").agg(time_ns=pl.col("busy_ns").sum())
    traced = layers.join(busy.select("prediction").unique(), on="prediction", how="semi")
    worked_in = traced.join(busy, on=["prediction", "layer"], how="left").group_by("layer")
    typical = worked_in.agg(pl.col("time_ns").fill_null(0).median().cast(pl.Int64))
    counted = kernels.group_by("layer", "name").agg(pl.col(*_KERNEL).mean())
    levels = sorted(predictions["level"].unique().to_list(), key=depth)
    for level in levels or [""]:
        mine = predictions.filter(pl.col("level") == level).drop("level")
        own, run_here, worked = (frame.join(mine, on="prediction", how="semi") for frame in (layers, kernels, busy))
        if not busy.height:
            timed = own.with_columns(time_ns=pl.col("self_ns"))
        elif worked.height:
            timed = own.join(worked, on=["prediction", "layer"], how="left")
        else:
            timed = own.join(typical, on="layer", how="left")
        yield Seen(level, mine, timed.with_columns(pl.col("time_ns").fill_null(0)), _counted(run_here, counted))


def _counted(kernels: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    if kernels.select(pl.any_horizontal(pl.col(*_KERNEL).is_not_null().any())).item():
        return kernels
    return kernels.drop(*_KERNEL).join(counted, on=["layer", "name"], how="left", nulls_equal=True)


def _predictions(spans: Spans, tree: Structure, level: str) -> tuple[Integers, list[int | None], list[str]]:
    """Positions of the measured predictions of the most frequent batch size, by start; for each that size and the level
    that its run of the scenario was traced at: what its step says, else ``level``.
    """
    model = at_level(tree, "model")
    outermost = model & (nearest_above(tree, model) < 0)
    step = nearest_above(tree, at_level(tree, "application"))
    warming = np.array([name == "warm_up" for name in tree.names] or [False])
    measured = outermost & ~((step >= 0) & warming[tree.name[step]])
    where = np.flatnonzero(measured)
    sizes = [_whole(found.get("mlms.batch_size")) for found in _attributes(spans, where)]
    if sizes:
        usual = max(set(sizes), key=lambda size: (sizes.count(size), size or 0))
        where = where[[size == usual for size in sizes]]
        sizes = [usual] * len(where)
    where = where[np.argsort(tree.start[where], kind="stable")]
    steps, of = np.unique(step[where], return_inverse=True)
    stated = [str(found.get("mlms.trace.level", level)) for found in _attributes(spans, steps[steps >= 0])]
    stated = [level] * (len(steps) - len(stated)) + stated  # a prediction without a step comes first
    return where, sizes, [stated[place] for place in of]


def _layers(
    spans: Spans, tree: Structure, of: Integers, began: Integers, batch_size: int | None
) -> tuple[pl.DataFrame, pl.DataFrame, Integers]:
    """``Trace.calls``, ``Trace.layers`` without time_ns, and for each span (shape (2, spans)) the layer that it is or
    is in and the position of that layer's span, -1 for none.
    """
    is_layer = at_level(tree, "layer") & (of >= 0)
    where = np.flatnonzero(is_layer)
    above = nearest_above(tree, is_layer)
    call = occurrences(of[where], tree.name[where], tree.start[where])
    most = int(call.max(initial=0)) + 1
    _, first, layer = np.unique(tree.name[where] * most + call, return_index=True, return_inverse=True)
    code = np.full(len(tree.parent) + 1, -1, np.int64)
    code[where] = layer
    total = (tree.end - tree.start)[where]
    within = np.zeros(len(tree.parent) + 1, np.int64)
    np.add.at(within, above[where], total)
    layers = pl.DataFrame(
        {
            "prediction": of[where],
            "layer": layer,
            "start_ns": tree.start[where] - began[of[where]],
            "total_ns": total,
            # Layers that run beside one another in threads of a layer may take longer than it.
            "self_ns": np.maximum(total - within[where], 0),
        },
        schema=dict.fromkeys(("prediction", "layer", "start_ns", "total_ns", "self_ns"), pl.Int64),
    )
    parents = code[above[where]]
    described = [_of_batch(found, batch_size) for found in _attributes(spans, where[first])]
    calls = pl.DataFrame(
        {
            "layer": np.arange(len(first)),
            "name": [tree.names[name] for name in tree.name[where[first]]],
            "call": call[first],
            "type": [str(found.get("mlms.layer.type", UNKNOWN)) for found in described],
            "parent": [int(parent) if parent >= 0 else None for parent in parents[first]],
            "leaf": ~np.isin(np.arange(len(first)), parents),
            **{size: [_whole(found.get(f"mlms.layer.{size}")) for found in described] for size in _SIZES},
            **{
                shapes: [_words(found.get(f"mlms.layer.{shapes}")) for found in described]
                for shapes in ("input_shapes", "output_shapes")
            },
        },
        schema={
            **{"layer": pl.Int64, "name": pl.String, "call": pl.Int64, "type": pl.String},
            **{"parent": pl.Int64, "leaf": pl.Boolean},
            **dict.fromkeys(_SIZES, pl.Int64),
            **{"input_shapes": pl.String, "output_shapes": pl.String},
        },
    )
    inside = np.where(code[:-1] >= 0, np.arange(len(above)), above)
    return calls, layers, np.stack([code[inside], inside])


def _kernels(spans: Spans, tree: Structure, of: Integers, began: Integers, around: Integers) -> pl.DataFrame:
    code, inside = around
    where = np.flatnonzero(at_level(tree, "library") & (of >= 0))
    columns: dict[str, list[Any]] = {"position": [], "device": [], "name": [], **{key: [] for key in _KERNEL}}
    for position, found in zip(where.tolist(), _attributes(spans, where), strict=True):
        if found.get("mlms.gpu.activity") == "kernel":
            device, name = "gpu", tree.names[tree.name[position]]
        elif primitive := _words(found.get("mlms.library.primitive")):
            device, name = "cpu", " ".join(filter(None, (primitive, _words(found.get("mlms.library.implementation")))))
        else:
            continue  # a call into a library that starts kernels, or a copy
        columns["position"].append(position)
        columns["device"].append(device)
        columns["name"].append(name)
        for column, key in _KERNEL.items():
            columns[column].append(_number(found.get(key)))
    there = np.array(columns.pop("position"), dtype=np.int64)
    holder = inside[there]
    held = code[there] >= 0
    schema: Any = {"device": pl.String, "name": pl.String, **dict.fromkeys(_KERNEL, pl.Float64)}
    frame = pl.DataFrame(columns, schema=schema).with_columns(
        prediction=pl.Series(of[there], dtype=pl.Int64),
        layer=pl.Series(code[there], dtype=pl.Int64).replace({-1: None}),
        start_ns=pl.Series(tree.start[there] - began[of[there]], dtype=pl.Int64),
        latency_ns=pl.Series((tree.end - tree.start)[there], dtype=pl.Int64),
        first=pl.Series(np.where(held, tree.start[holder] - began[of[there]], 0), dtype=pl.Int64),
        last=pl.Series(np.where(held, tree.end[holder] - began[of[there]], 0), dtype=pl.Int64),
    )
    end = pl.col("start_ns") + pl.col("latency_ns")
    earlier = end.cum_max().shift(1).over("prediction", "layer", "device").fill_null(pl.col("start_ns"))
    begin = pl.max_horizontal("start_ns", earlier)
    return (
        frame.sort("prediction", "start_ns")
        .with_columns(
            busy_ns=(end - begin).clip(0),
            inside_ns=(pl.min_horizontal(end, "last") - pl.max_horizontal(begin, "first")).clip(0),
        )
        .drop("first", "last")
    )


def _attributes(spans: Spans, positions: npt.NDArray[np.int64]) -> Iterator[Mapping[str, Any]]:
    """The attributes of the spans at these positions (in any order), in the order of the positions."""
    if not len(positions):
        return
    ordered = bool((np.diff(positions) > 0).all())
    if not ordered:
        order = np.argsort(positions)
        found = list(_attributes(spans, positions[order]))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        yield from (found[place] for place in back)
        return
    first = 0
    for part in spans.parts("attributes"):
        begin, end = np.searchsorted(positions, [first, first + part.height])
        for chunk in range(begin, end, _CHUNK):
            wanted = positions[chunk : min(chunk + _CHUNK, end)] - first
            yield from attribute_text.loads_all(part["attributes"].gather(wanted).fill_null("{}").to_list())
        first += part.height


def _of_batch(found: Mapping[str, Any], size: int | None) -> Mapping[str, Any]:
    """What is told of a layer, without what grows with the batch where that was told of another size."""
    if found.get("mlms.layer.batch_size", size) == size:
        return found
    return {key: value for key, value in found.items() if key.removeprefix("mlms.layer.") not in _OF_BATCH}


def _number(value: Any) -> float | None:
    """A figure among attributes that anyone may have written; None for what is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _words(value: Any) -> str | None:
    return (" ".join(map(str, value)) if isinstance(value, list) else str(value or "")) or None


def _level(run: Run) -> str:
    return str((run.record.get("trace") or {}).get("level", "none"))


def _without(run: Run, level: str) -> InputError:
    traced = _level(run)
    if depth(traced) < depth(level):
        return InputError(
            f"this run was traced at level '{traced}'; this analysis needs '{level}'",
            place=Place(run.path),
            hint=f"evaluate again with trace.level {level}: --trace-level {level}, or in the manifest",
        )
    facts = (run.record.get("model") or {}).get("describe", {})
    why = {
        "layer": "torch.compile makes layers vanish; evaluate with compile: false"
        if facts.get("compiled")
        else "its framework shows none",
        "library": "its framework shows no library calls; on a GPU they need the profiler cupti",
        "model": "it ended before a prediction was measured",
    }[level]
    return InputError(f"this run's trace has no spans of level '{level}'", place=Place(run.path), hint=why)
