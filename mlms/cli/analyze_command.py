"""``mlms analyze``."""

from __future__ import annotations

import json
from pathlib import Path

import click

SHOWN_ROWS = 20
SCREEN = 8


@click.command(
    "analyze",
    epilog="""Example: mlms analyze @last, or: mlms analyze @last layer-latency --sort self_ns

    Without an ANALYSIS: which layer types take the time, and how far each is from the least it could take.""",
)
@click.argument("words", nargs=-1, metavar="RUN... [ANALYSIS]")
@click.option("--list", "list_", is_flag=True, help="List the analyses.")
@click.option("--against", metavar="RUN", help="The other run, for analyses that compare two.")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    help="So many rows (0: all); without an ANALYSIS so many layer types, and half as many layers.",
)
@click.option("--sort", metavar="COLUMN", help="Sort by this column, the largest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines on standard output.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, all columns.")
@click.option("--no-measure", is_flag=True, help="Don't measure what this machine can do if that isn't known yet.")
@click.option("--runs", "root", type=click.Path(path_type=Path), metavar="DIR", help="Where the runs are ($MLMS_RUNS).")
def command(
    words: tuple[str, ...],
    list_: bool,
    against: str | None,
    top: int | None,
    sort: str | None,
    as_json: bool,
    as_csv: bool,
    no_measure: bool,
    root: Path | None,
) -> None:
    """Show where the time of a finished run goes: by layer, layer type and kernel, and how far from its bound.

    A run is named as for 'mlms compare'. What this machine can do at most is measured once, in some seconds, and kept.
    """
    from mlms import api
    from mlms.analysis.across_stack.catalogue import ANALYSES, find_analysis
    from mlms.analysis.across_stack.provenance import provenance
    from mlms.cli import console

    if as_json and as_csv:
        raise click.UsageError("give --json or --csv, not both")
    if list_:
        _list(as_json)
        return
    if not words:
        raise click.UsageError("name a run, such as @last (--list lists the analyses)")
    progress = console.progress(quiet=as_json or as_csv)
    named = len(words) > 1 and (words[-1] in ANALYSES or not _is_run(words[-1], root))
    analysis = words[-1] if named else "difference-by-type" if against else None
    runs = words[:-1] if named else words
    if analysis is None and len(runs) > 1:
        analysis = "model-information"
    if analysis is None and not as_csv:
        found = api.where_time_goes(
            runs[0], top=SCREEN if top is None else top, measure=not no_measure, progress=progress, output=root
        )
        if as_json:
            click.echo(json.dumps(found.data, indent=2))
        else:
            from mlms.reports.analysis_table import overview_table

            console.results_console().print(overview_table(found.data))
        return
    analysis = analysis or "bounds-by-type"
    find_analysis(analysis)
    frame = api.analyze(runs, analysis, against=against, measure=not no_measure, progress=progress, output=root)
    if sort is not None:
        if sort not in frame.columns:
            raise click.UsageError(f"'{analysis}' has no column '{sort}'; it has {', '.join(frame.columns)}")
        frame = frame.sort(sort, descending=True, nulls_last=True, maintain_order=True)
    most = (0 if as_json or as_csv else SHOWN_ROWS) if top is None else top
    shown = frame.head(most) if most else frame
    measured = provenance(api.open_run(runs[0], output=root).record, ANALYSES[analysis].level)
    if as_csv:
        click.echo(shown.write_csv(), nl=False)
    elif as_json:
        _print_json(analysis, shown.columns, shown.to_dicts(), measured)
    else:
        from mlms.reports.analysis_table import frame_table

        table = frame_table(shown.to_dicts(), shown.columns, frame.height - shown.height)
        console.results_console().print(table)
        if measured:
            click.echo(measured)


def show_difference(before: str, after: str, root: Path | None) -> None:
    """Which layer types and layers explain the difference between two runs."""
    from mlms import api
    from mlms.cli import console
    from mlms.reports.analysis_table import frame_table

    for analysis in ("difference-by-type", "layer-difference"):
        frame = api.analyze(before, analysis, against=after, output=root)
        shown = frame.head(SCREEN)
        console.results_console().print(frame_table(shown.to_dicts(), frame.columns, 0), "")
    click.echo(f"All layers: mlms analyze {before} layer-difference --against {after} --top 0")


def _is_run(word: str, root: Path | None) -> bool:
    from mlms import api
    from mlms.errors import InputError

    try:
        api.open_run(word, output=root)
    except InputError:
        return False
    return True


def _print_json(analysis: str, columns: list[str], rows: list[dict[str, object]], measured: str | None) -> None:
    from mlms.analysis.across_stack.catalogue import COLUMNS

    meanings = {column: COLUMNS[column] for column in columns}
    click.echo(json.dumps({"analysis": analysis, "measured": measured, "columns": meanings, "rows": rows}, indent=2))


def _list(as_json: bool) -> None:
    from mlms.analysis.across_stack.catalogue import ANALYSES

    entries = [
        {"name": name, "summary": analysis.summary, "level": analysis.level, "paper": analysis.paper}
        for name, analysis in ANALYSES.items()
    ]
    if as_json:
        click.echo(json.dumps(entries, indent=2))
        return
    for entry in entries:
        number = f" ({entry['paper']} of XSP)" if entry["paper"] else ""
        click.echo(f"{entry['name']:<20} {entry['summary']}{number}")
