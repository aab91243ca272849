"""Where a run's time goes, layer by layer, in words and columns that every face shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlms.reports.quantities import quantity, scaled
from mlms.runs.summary import format_duration

TYPE_COLUMNS = {"type": "layer type", "count": "layers", "time_ns": "time", "share": "share"}
LAYER_COLUMNS = {"name": "layer", "type": "type", "time_ns": "time", "share": "share"}
BOUND_COLUMNS = {"bound_ns": "bound", "gap": "gap", "limited_by": "limited by"}
"""Columns of an overview's ``types`` and ``layers``, with their headings; the last ones where bounds are known."""


def headline(data: Mapping[str, Any]) -> str:
    """A prediction's time and how far it is from its bound, in one sentence."""
    batch = f"batch {data['batch_size']}, " if data["batch_size"] else ""
    said = f"{format_duration(data['latency_ns'])} a prediction ({batch}median of {data['predictions']:,})"
    if data["gap"] is None:
        return said
    return f"{said}, {quantity('gap', data['gap'])} its bound of {format_duration(data['bound_ns'])}"


def layers_heading(data: Mapping[str, Any]) -> str:
    """By what its layers were chosen."""
    return "Layers that lose most against their bound:" if data["roof"] is not None else "Layers that take longest:"


def notes(data: Mapping[str, Any]) -> Iterator[str]:
    """What one has to know to read the figures."""
    roof = data["roof"]
    left_out = [f"{count:,} {noun}" for noun, count in data["other"].items() if count]
    if left_out:
        yield f"Not shown: {' and '.join(left_out)}."
    if roof is None:
        yield f"No bounds: {data['no_roof']}."
    else:
        slowest = roof["bandwidths"][-1][1]
        yield f"Bound: {scaled(roof['flops_per_s'])}FLOP/s and, from memory, {scaled(slowest)}B/s, as measured."
        if data["bound_ns"] is None:
            yield "No bounds: FLOPs and bytes of these layers aren't known, or only for another batch size."
        if any(row["gap"] is not None and row["gap"] < 1 for row in data["types"]):
            yield "Faster than its bound: it was measured on a busy machine; repeat 'mlms doctor --roofline'."
    if data["measured"]:
        yield f"Layers: {data['measured'][0].lower()}{data['measured'][1:]}"
    if data["device_time"] == "launches":
        yield "On a GPU these times are those of launching; trace at level library with the profiler cupti."


def layer_section(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the section of an HTML report shows."""
    bound = BOUND_COLUMNS if data["roof"] is not None else {}
    return {
        **data,
        "headline": headline(data),
        "notes": list(notes(data)),
        "type_columns": {**TYPE_COLUMNS, **bound},
        "layer_columns": {**LAYER_COLUMNS, **bound},
    }
