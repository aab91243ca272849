"""The probes of a search for the peak as a table for a terminal. Imports rich; imported lazily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from mlms.reports.format import plain
from mlms.runs.summary import NOTHING, format_duration


def peak_table(peak: Mapping[str, Any]) -> Table:
    """One line a probe, the smallest load first; why an invalid one is."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in (peak["parameter"], "achieved", "tail latency"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("valid", no_wrap=True)
    table.add_column("why not", overflow="fold")
    for probe in sorted(peak["probes"], key=lambda probe: float(probe["value"])):
        valid = Text("valid", style="green") if probe["valid"] else Text("invalid", style="red")
        achieved = NOTHING if probe["achieved"] is None else f"{probe['achieved']:,.1f}"
        why = Text(plain("; ".join(probe["problems"])))
        table.add_row(f"{probe['value']:g}", achieved, format_duration(probe["latency_ns"]), valid, why)
    return table
