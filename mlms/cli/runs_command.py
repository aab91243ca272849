"""``mlms runs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlms.cli import browser, options
from mlms.cli.columns import aligned

if TYPE_CHECKING:
    from mlms.runs.run import Run


@click.group("runs", epilog="Example: mlms runs show @last")
def command() -> None:
    """List, show and open finished runs.

    A run is named by its directory, its id or a unique beginning of it, its name (the newest), or @last.
    """


@command.command("list", epilog="Example: mlms runs list --json")
@options.output
@options.as_json
def list_(output: Path | None, as_json: bool) -> None:
    """List finished runs, newest first.

    Those of each trace level are listed by themselves.
    """
    from mlms.runs.directory import root_from
    from mlms.runs.store import scan

    root = root_from(output)
    runs, problems = scan(root)
    if as_json:
        click.echo(json.dumps([{"path": str(run.path), **run.record} for run in runs], indent=2))
    elif not runs:
        click.echo(f"there are no runs in '{root}'; `mlms eval MANIFEST` makes one", err=True)
    else:
        from mlms.runs.summary import by_level

        levels = by_level([run.record for run in runs])
        for number, (level, records) in enumerate(levels.items()):
            if len(levels) > 1:
                click.echo(f"{chr(10) if number else ''}traced at level {level}")
            columns = ["run", "dataset", "scenario", "level", "top1", "p50", "valid"]
            for line in aligned(columns, [_row(record) for record in records]):
                click.echo(line)
    for run in runs:
        _warn_of_half(run)
    for problem in problems:
        click.secho(f"warning: left out: {problem}", err=True, fg="yellow")


@command.command("show", epilog="Example: mlms runs show @last --json")
@click.argument("run")
@options.output
@options.as_json
def show(run: str, output: Path | None, as_json: bool) -> None:
    """Show one run."""
    from mlms import api

    found = api.open_run(run, output=output)
    _warn_of_half(found)
    if as_json:
        click.echo(json.dumps(found.record, indent=2))
        return
    from mlms.cli import console
    from mlms.reports.terminal import run_panel

    console.results_console().print(run_panel(found.record))
    click.echo(f"run    {found.path}")


def _row(record: Mapping[str, Any]) -> dict[str, str]:
    """The columns of ``runs list``."""
    from mlms.runs.summary import format_duration, format_figure

    top1 = next((entry["value"] for entry in record["metrics"] if entry["name"] == "top1"), None)
    median = next((entry["value"] for entry in (record["latency"] or {}).get("percentiles", ())), None)
    return {
        "run": str(record["id"]),
        "dataset": record["dataset"]["name"],
        "scenario": record["scenario"]["type"],
        "level": record["trace"]["level"],
        "top1": "-" if top1 is None else format_figure(top1, "%"),
        "p50": format_duration(median) if median else "-",
        "valid": "yes" if record["scenario"]["valid"] else "no",
    }


def _warn_of_half(run: Run) -> None:
    if run.missing:
        click.secho(f"warning: half a run: {run.path} is without {', '.join(run.missing)}", err=True, fg="yellow")


@command.command("open", epilog="Example: mlms runs open @last")
@click.argument("run")
@options.output
def open_(run: str, output: Path | None) -> None:
    """Open a run's report in the browser (and print where it is)."""
    from mlms import api
    from mlms.errors import StorageError

    found = api.open_run(run, output=output)
    report = found.path / "report.html"
    if not report.is_file():
        raise StorageError(f"run {found.id} has no report at {report}")
    click.echo(str(report))
    browser.show(str(report))
