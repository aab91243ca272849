"""``mlms validate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mlms.cli import options
from mlms.errors import EXIT_BAD_INPUT


@click.command("validate", epilog="Example: mlms validate manifests/*.yaml assets/models/digits/digits-cnn.yaml")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@options.assets
@options.as_json
def command(files: tuple[Path, ...], assets: tuple[Path, ...], as_json: bool) -> None:
    """Check asset and manifest files.

    They are held against their schemas, and every name in them against what is installed; files of weights have to
    be there. Nothing is downloaded, and no code of a model is run. A run's record is checked against the schema of
    runs.
    """
    from mlms.errors import MlmsError

    results = []
    for file in files:
        try:
            what = _check(file, assets)
            results.append({"file": str(file), "valid": True, "detail": what})
        except MlmsError as error:
            results.append({"file": str(file), "valid": False, "detail": str(error)})
    if as_json:
        click.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            if result["valid"]:
                click.echo(f"{result['file']}: valid {result['detail']}")
            else:
                click.secho(f"{result['detail']}", fg="red", err=True)
    if not all(result["valid"] for result in results):
        sys.exit(EXIT_BAD_INPUT)


def _check(file: Path, assets: Sequence[Path]) -> str:
    """What the file is, in a few words."""
    from mlms import api
    from mlms.manifests.reader import read_document
    from mlms.manifests.schema import check
    from mlms.manifests.types import KINDS

    document = read_document(file)
    kind = document.data.get("kind")
    if kind in KINDS:
        return api.check_asset(file, assets=assets)
    if kind != "manifest":
        check(document)
        return f"{kind} {document.data['name']}"
    return f"manifest, evaluations: {len(api.plan(file, assets=assets).evaluations)}"
