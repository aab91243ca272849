"""Run manifests and show what came of them: what ``eval`` and ``run`` share."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from mlms import api
from mlms.cli import console
from mlms.errors import EXIT_INTERRUPTED, MlmsError
from mlms.executor.outcome import Outcome, exit_code
from mlms.runs.run import Run


def evaluate_and_show(
    manifests: Sequence[api.ManifestSource],
    *,
    overrides: Sequence[str],
    assets: Sequence[Path],
    settings: api.Settings,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run every manifest, print the results (also of an interrupted sweep), and exit with the right code."""
    progress = console.progress(quiet)
    outcomes: list[Outcome] = []
    codes: list[int] = []
    interrupted = False
    try:
        with redirect_stdout(sys.stderr):  # what a model prints must not mix with results
            for manifest in manifests:
                try:
                    for outcome in api.run_evaluations(
                        manifest, overrides=overrides, assets=assets, settings=settings, progress=progress
                    ):
                        outcomes.append(outcome)
                        codes.append(outcome.exit_code)
                        _report(outcome)
                except MlmsError as error:
                    if len(manifests) == 1:
                        raise
                    codes.append(error.exit_code)
                    click.secho(f"error: {error}", err=True, fg="red")
    except KeyboardInterrupt:
        interrupted = True
        click.echo("interrupted; finished runs are kept", err=True)
    _show(outcomes, as_json)
    sys.exit(EXIT_INTERRUPTED if interrupted else exit_code(codes))


def _report(outcome: Outcome) -> None:
    """Failures at once on standard error; the tables come at the end."""
    name = outcome.name
    if outcome.traceback:
        click.secho(f"error: {name}: a bug in mlms, please report it:\n{outcome.traceback}", err=True, fg="red")
    elif outcome.error:
        click.secho(f"error: {name}: {outcome.error}", err=True, fg="red")
    elif outcome.resumed:
        click.echo(f"{name}: already finished, {outcome.run}", err=True)
    if outcome.log:
        click.echo(f"  log: {outcome.log}", err=True)


def _show(outcomes: Sequence[Outcome], as_json: bool) -> None:
    runs = [Run(outcome.run) for outcome in outcomes if outcome.run is not None]
    failures = [(outcome.name, str(outcome.error)) for outcome in outcomes if outcome.error is not None]
    if as_json:
        click.echo(json.dumps(list(_as_data(outcomes)), indent=2))
        return
    from mlms.reports.format import plain
    from mlms.reports.resources import level_costs
    from mlms.reports.terminal import failures_table, results_table, run_panel

    out = console.results_console()
    if len(runs) == 1:
        out.print(run_panel(runs[0].record))
    elif runs:
        out.print(results_table([run.record for run in runs]))
        for run in runs:
            if len(levels := run.record["trace"].get("levels") or []) > 1:
                click.echo(f"levels {run.name}: {level_costs(levels)}")
        warned: dict[str, list[str]] = {}
        for run in runs:
            for warning in run.record["warnings"]:
                warned.setdefault(warning, []).append(run.name)
        for warning, names in warned.items():
            whose = f"{len(names)} of {len(runs)} runs" if len(names) > 1 else names[0]
            click.secho(f"warning: {plain(whose)}: {plain(warning)}", fg="yellow")
    if len(outcomes) > 1 and failures:
        out.print(failures_table(failures))
    for run in runs:
        click.echo(f"run    {run.path}")
    if len(runs) == 1 and "report" in runs[0].record["files"]:
        click.echo(f"report {runs[0].path / 'report.html'}")


def _as_data(outcomes: Sequence[Outcome]) -> Iterator[Mapping[str, Any]]:
    for outcome in outcomes:
        if outcome.run is not None:
            yield {"path": str(outcome.run), "resumed": outcome.resumed, **Run(outcome.run).record}
        else:
            yield {
                "kind": "failure",
                "name": outcome.name,
                "status": "failed",
                "error": str(outcome.error),
                "exit_code": outcome.exit_code,
                "log": str(outcome.log) if outcome.log else None,
            }
