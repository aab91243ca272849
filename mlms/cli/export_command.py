"""``mlms export``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export", epilog="Example: mlms export @last --format markdown --output result.md")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--format", "-f", "format_", required=True, metavar="FORMAT", help="'mlms list exporters' names them.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The file to write (else standard output); for a format of many files, the folder.",
)
@click.option(
    "--set",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the format; 'mlms show exporter FORMAT' describes them.",
)
@click.option("--runs", "root", type=click.Path(path_type=Path), metavar="DIR", help="Where the runs are ($MLMS_RUNS).")
def command(
    runs: tuple[str, ...], format_: str, output: Path | None, options: tuple[str, ...], root: Path | None
) -> None:
    """Write finished runs in the formats of other tools.

    A run is named by its directory, its id or a unique beginning of it, its name (the newest), or @last.
    """
    from mlms import api

    click.echo(api.export(runs, format_, options=options, target=output, output=root).removesuffix("\n"))
