"""A comparison for a terminal. Imports rich; imported lazily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import ConsoleRenderable, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlms.reports import comparison
from mlms.reports.format import plain
from mlms.reports.terminal import Fitting

STYLES = {"better": "green", "worse": "bold red", "not distinguishable": "dim", "unknown": "yellow"}


def comparison_table(data: Mapping[str, Any]) -> ConsoleRenderable:
    """What to know first, then a table for each run against the baseline, and what differs between the two."""
    parts: list[ConsoleRenderable] = [
        Text("note: ", style="yellow") + Text(plain(remark, 500)) for remark in comparison.remarks(data)
    ]
    baseline = data["subjects"][0]
    for subject, contrast in zip(data["subjects"][1:], data["contrasts"], strict=True):
        heading = Text(plain(comparison.title(subject)), style="bold") + Text(" against ", style="not bold")
        parts.append(
            Padding(heading + Text(plain(comparison.title(baseline))), (1 if parts else 0, 0, 0, 0), expand=False)
        )
        parts.append(Fitting([_effects(contrast, " "), _effects(contrast, "\n")]))
        said = [f"{line.metric}: {line.note}" for line in comparison.lines(contrast) if line.note]
        parts += [Text(plain(note, 500), style="dim") for note in (*said, *contrast["notes"])]
        keys = list(comparison.differences(contrast))
        if keys:
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
            for column in ("what differs", "baseline", "this run"):
                table.add_column(column, overflow="fold")
            for row in keys:
                table.add_row(*map(Text, row))
            parts.append(Padding(table, (1, 0, 0, 0), expand=False))
    return Group(*parts)


def _effects(contrast: Mapping[str, Any], before_interval: str) -> ConsoleRenderable:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("metric", no_wrap=True)
    for heading in ("baseline", "this run", "change"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for line in comparison.lines(contrast):
        change = Text(line.change.replace(" [", f"{before_interval}["))
        verdict = Text(line.verdict, style=STYLES[line.verdict])
        if line.verdict == "unknown" and line.note:
            verdict.append(f" ({line.note})")
        table.add_row(Text(plain(line.metric)), Text(line.baseline), Text(line.value), change, verdict)
    return table
