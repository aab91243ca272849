"""``mlms schema``."""

from __future__ import annotations

import json

import click


@click.command("schema", epilog="Example: mlms schema model > model.schema.json")
@click.argument("kind", type=click.Choice(["model", "framework", "dataset", "manifest", "run"]))
def command(kind: str) -> None:
    """Print a JSON Schema.

    The schemas (draft 2020-12) are for editors and validators; each asset names its own in its first line.
    """
    from mlms.manifests.schema import schema

    click.echo(json.dumps(schema(kind), indent=2))
