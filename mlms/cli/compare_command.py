"""``mlms compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlms.analysis.thresholds import Hit
    from mlms.api import Comparison

FORMATS = ("table", "json", "markdown", "csv", "html", "junit")


@click.command(
    "compare",
    epilog="""Example: mlms compare @last~1 @last --fail-if 'latency.p90 > 1.05x'

    A threshold is METRIC [< or >] LIMIT. 'latency.p90 > 1.05x' is hit where the 90th percentile is more than 1.05 times
    the baseline's, 'top1 < -0.5' where top-1 accuracy is more than 0.5 percentage points below it. A LIMIT with an x is
    a ratio, one with a sign a difference in the metric's own unit. Without < or >, a ratio above 1 and a positive
    difference mean >, the others <: 'latency.p90 1.05x', 'top1 -0.5'. A metric that can't be compared counts as hit.

    Exit codes: 0 no threshold is hit, 1 one is, 2 the runs can't be compared.""",
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", help="What to print.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it here instead."
)
@click.option(
    "--fail-if", "limits", multiple=True, metavar="THRESHOLD", help="Exit with 1 where it is hit (repeatable)."
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, max_open=True),
    help="A ratio closer to 1 than this is not called better or worse (0.01).",
)
@click.option("--layers", is_flag=True, help="Show instead which layers explain the difference between two runs.")
@click.option("--force", is_flag=True, help="Compare different tasks or datasets all the same.")
@click.option("--runs", "root", type=click.Path(path_type=Path), metavar="DIR", help="Where the runs are ($MLMS_RUNS).")
def command(
    runs: tuple[str, ...],
    format_: str,
    output: Path | None,
    limits: tuple[str, ...],
    margin: float | None,
    layers: bool,
    force: bool,
    root: Path | None,
) -> None:
    """Compare finished runs.

    Accuracy, latency and throughput are set against the first run's, the baseline, with intervals and a verdict for
    each: better, worse or not distinguishable. A run is named by its directory, its id or a unique beginning of it, its
    name (the newest), @last, or @last~1 for the one before. One of several repeats stands for all of them.
    """
    from mlms import api
    from mlms.analysis.thresholds import hits, parse_threshold

    if layers:
        _show_layers(runs, root)
        return
    thresholds = [parse_threshold(limit) for limit in limits]
    compared = api.compare(runs, margin=margin, force=force, output=root)
    found = hits(compared.result, thresholds)
    _show(compared, format_, output, [threshold.text for threshold in thresholds], found)
    for hit in found:
        click.secho(f"{hit.label}: {hit.message}: '{hit.threshold}'", err=True, fg="red")
    if found:
        raise SystemExit(1)


def _show_layers(runs: tuple[str, ...], root: Path | None) -> None:
    if len(runs) != 2:
        raise click.UsageError("--layers compares two runs")
    from mlms.cli.analyze_command import show_difference

    show_difference(*runs, root)


def _show(
    compared: Comparison, format_: str, output: Path | None, thresholds: Sequence[str], found: Sequence[Hit]
) -> None:
    if format_ == "table" and output is None:
        from mlms.cli import console

        console.results_console().print(compared)
        return
    text = _text(compared, format_, thresholds, found)
    if output is None:
        click.echo(text, nl=False)
        return
    from mlms.storage import writing

    with writing(output):
        output.write_text(text, "utf-8")
    click.echo(str(output))


def _text(compared: Comparison, format_: str, thresholds: Sequence[str], found: Sequence[Hit]) -> str:
    from dataclasses import asdict

    from mlms.reports import comparison

    failures = [asdict(hit) for hit in found]
    if format_ == "json":
        return json.dumps({**compared.data, "thresholds": list(thresholds), "hits": failures}, indent=2) + "\n"
    if format_ == "markdown":
        return comparison.markdown(compared.data)
    if format_ == "csv":
        return comparison.csv_text(compared.data)
    if format_ == "html":
        return compared.html
    if format_ == "junit":
        return comparison.junit(compared.data, thresholds, failures)
    return _plain_table(compared)


def _plain_table(compared: Comparison) -> str:
    import io

    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120, highlight=False).print(compared)
    return out.getvalue()
