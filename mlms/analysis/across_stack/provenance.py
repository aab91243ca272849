"""Which run of the scenario a figure comes from, and what tracing had added to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlms.tracing.levels import depth


def provenance(record: Mapping[str, Any], level: str) -> str | None:
    """A sentence on the figures that need spans of ``level``; None where nothing was traced below the predictions."""
    trace = record.get("trace") or {}
    runs = trace.get("levels") or []
    traced = str(trace.get("level", "none"))
    if depth(traced) <= depth("model"):
        return None
    if len(runs) < 2:
        return f"Traced at level {traced} throughout; --leveled tells what that adds."
    taken = next((run for run in runs if depth(run["level"]) >= depth(level)), runs[-1])
    if taken is runs[0]:
        return f"Measured at level {taken['level']}: nothing was recorded below the predictions."
    added = taken["overhead"]
    apart = f"{added:.1%} above" if added >= 0 else f"{-added:.1%} below"
    noise = " (noise)" if added < 0 else ""
    return f"Measured at level {taken['level']}; its median is {apart} level {runs[0]['level']}'s{noise}."
