"""``mlms find-peak``."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlms.cli import options

if TYPE_CHECKING:
    from mlms.executor.peak import Peak, Probe


@click.command("find-peak", epilog="Example: mlms find-peak manifests/digits-server.yaml --precision 0.1")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the manifest.")
@click.option(
    "--precision",
    type=click.FloatRange(0, 10, min_open=True),
    default=0.05,
    show_default=True,
    help="How near to the smallest invalid load the largest valid one shall be.",
)
@options.assets
@options.output
@click.option("--offline", is_flag=True, help="Never download; use what is cached ($MLMS_OFFLINE).")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@options.as_json
def command(
    manifest: Path,
    overrides: tuple[str, ...],
    precision: float,
    assets: tuple[Path, ...],
    output: Path | None,
    offline: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Search the largest load that is still valid.

    In server that is the rate (target_qps), in multi_stream the samples in a query, under the manifest's
    target_latency. Every load that is tried is an ordinary run; called again, those that are finished are not
    repeated. The exit code is 1 where no load is valid.
    """
    from mlms import api
    from mlms.cli import console
    from mlms.errors import EXIT_FAILED, EXIT_OK

    def tell(probe: Probe) -> None:
        if not quiet:
            known = " (finished before)" if probe.resumed else ""
            click.echo(f"{probe.value:g}: {'; '.join(probe.problems) or 'valid'}{known}", err=True)

    try:
        with redirect_stdout(sys.stderr):  # what a model prints must not mix with results
            peak = api.find_peak(
                manifest,
                overrides=overrides,
                assets=assets,
                settings=api.Settings(output, offline=offline),
                precision=precision,
                progress=console.progress(quiet),
                tell=tell,
            )
    except KeyboardInterrupt:
        click.echo("finished probes are kept; the same command goes on from there", err=True)
        raise
    if as_json:
        click.echo(json.dumps(asdict(peak), indent=2, default=str))
    else:
        _show(peak)
    sys.exit(EXIT_OK if peak.value is not None else EXIT_FAILED)


def _show(peak: Peak) -> None:
    from mlms.cli import console
    from mlms.reports.peak_table import peak_table

    out = console.results_console()
    out.print(peak_table(asdict(peak)))
    if peak.value is None:
        click.echo(f"no {peak.parameter} from {peak.least:g} on that was tried is valid; {peak.below}")
    else:
        click.echo(f"peak   {peak.parameter} {peak.value:g}, within {peak.precision:.0%}")
        found = next((probe.run for probe in peak.probes if probe.value == peak.value and probe.run is not None), None)
        if found is not None:  # the last run, which @last names, may be one that was too much
            click.echo(f"run    {found}")
