"""What models answer beside a reference, for a terminal. Imports rich; imported lazily."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from mlms.reports.format import plain
from mlms.reports.terminal import Fitting
from mlms.runs.summary import NOTHING


def agreement_table(data: Mapping[str, Any]) -> ConsoleRenderable:
    """A row for each output of each model; then what could not be compared."""
    title = (
        f"{data['samples']:,} samples, beside {data['reference']} ({data['framework']}); "
        f"an element agrees within {data['atol']:g} + {data['rtol']:g} of the reference's"
    )
    failures = [
        Text(f"{plain(model['name'])}: ", style="red") + Text(plain(model["error"], 2000))
        for model in data["models"]
        if model["error"] is not None
    ]
    return Group(Text(title, style="dim"), Text(), Fitting([_table(data, True), _table(data, False)]), *failures)


def _table(data: Mapping[str, Any], with_framework: bool) -> Table:
    several = any(len(model["outputs"]) > 1 for model in data["models"])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("model", overflow="fold")
    if with_framework:
        table.add_column("framework", overflow="fold")
    if several:
        table.add_column("output", overflow="fold")
    for heading in ("max abs", "max rel", "outside", "top-1"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for model in data["models"]:
        named = [plain(model["name"]), *([plain(model["framework"])] if with_framework else [])]
        if model["error"] is not None:
            table.add_row(*named, *([NOTHING] * (5 if several else 4)), Text("failed", style="bold red"))
        for output in model["outputs"]:
            table.add_row(
                *named,
                *([plain(output["name"])] if several else []),
                f"{output['max_abs']:.2g}",
                f"{output['max_rel']:.2g}",
                f"{output['outside']:.2%}" if output["outside"] else "0",
                NOTHING if output["top1"] is None else f"{100 * output['top1']:.4g} %",
                Text("agrees", style="green")
                if output["agrees"]
                else Text(f"differs most in {plain(output['worst'])}", style="bold red"),
            )
    return table
