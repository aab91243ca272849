"""``mlms plugins``."""

from __future__ import annotations

import json
import sys

import click

from mlms.cli import options
from mlms.errors import EXIT_BAD_INPUT


@click.command("plugins", epilog="Example: mlms plugins --json")
@options.as_json
def command(as_json: bool) -> None:
    """List the installed plugins.

    A plugin that fails to import or register is left out; its traceback is shown here, and the exit code is 2.
    """
    from mlms import api

    components = api.load_plugins()
    offered = components.registries
    rows = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "error": plugin.error,
            **{
                f"{kind}s": [entry.component.name for entry in registry if entry.plugin == plugin]
                for kind, registry in offered.items()
            },
        }
        for plugin in components.plugins
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in rows:
            click.echo(f"{row['name']}  ({row['distribution']} {row['version']})")
            for kind in offered:
                if row[f"{kind}s"]:
                    click.echo(f"  {kind}s: {', '.join(row[f'{kind}s'])}")  # type: ignore[arg-type]
            if row["error"]:
                click.secho("  left out:", fg="red")
                click.echo("".join(f"    {line}\n" for line in str(row["error"]).splitlines()), nl=False)
    if components.broken:
        sys.exit(EXIT_BAD_INPUT)
