"""``mlms agree``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlms.cli import options
from mlms.errors import EXIT_FAILED

if TYPE_CHECKING:
    from mlms.executor.agreeing import Agreed


@click.command("agree", epilog="Example: mlms agree manifests/digits-everywhere.yaml --reference digits-cnn")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--reference", metavar="NAME", help="What the others are held against (the manifest's first evaluation).")
@click.option("--atol", type=click.FloatRange(min=0), help="Largest absolute difference (1e-4).")
@click.option("--rtol", type=click.FloatRange(min=0), help="... and beside it, relative to the reference (1e-3).")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N samples.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the manifest.")
@options.fetching
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@options.assets
@options.as_json
def command(
    manifest: Path,
    reference: str | None,
    atol: float | None,
    rtol: float | None,
    limit: int | None,
    overrides: tuple[str, ...],
    mirror: str | None,
    offline: bool,
    quiet: bool,
    assets: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compare what models answer, sample by sample.

    Every evaluation of the manifest predicts the dataset once; raw outputs are compared with those of the reference. An
    element agrees if |a - b| <= atol + rtol |b|. The exit code is 1 where one does not, or where a model failed.
    """
    from mlms import api
    from mlms.cli import console

    found = api.agree(
        manifest,
        reference=reference,
        atol=atol,
        rtol=rtol,
        overrides=[*overrides, *([f"limit={limit}"] if limit else [])],
        assets=assets,
        settings=api.Settings(mirror=mirror, offline=offline),
        progress=console.progress(quiet=quiet or as_json),
    )
    if as_json:
        click.echo(json.dumps(found.data, indent=2))
    else:
        _show(found)
    if not found.agrees:
        sys.exit(EXIT_FAILED)


def _show(found: Agreed) -> None:
    from mlms.cli import console
    from mlms.reports.agreement_table import agreement_table

    console.results_console().print(agreement_table(found.data))
