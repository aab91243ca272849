"""``mlms plugin``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlms.cli import options
from mlms.cli.new_plugin import SUMMARIES

REGISTRIES = {"dataset": "reader"}
"""Registries that have another name than the kind."""


@click.group("plugin", epilog="Example: mlms plugin new my-runtime --kind framework")
def command() -> None:
    """Write a plugin. `mlms plugins` lists those that are installed."""


@command.command("new", epilog="Example: mlms plugin new my-runtime --kind framework   (writes mlms-my-runtime/)")
@click.argument("name")
@click.option("--kind", type=click.Choice(list(SUMMARIES)), required=True, help="What it adds to mlms.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where to put its folder; here where not given.",
)
@options.as_json
def new(name: str, kind: str, output: Path, as_json: bool) -> None:
    """Write a whole plugin package.

    It installs, works, and passes its own tests, and is to be changed step by step. Its tests hold it against the
    rules that mlms has for its kind (`mlms.testing`).
    """
    from mlms import api
    from mlms.cli.new_plugin import distribution_of, package_files
    from mlms.errors import InputError, StorageError

    folder = output / distribution_of(name)
    registry = api.load_plugins().registries[REGISTRIES.get(kind, kind)]
    if name in registry:
        raise InputError(
            f"there is a {registry.noun} '{name}' already, from {registry.get(name).plugin}", hint="choose another name"
        )
    files = package_files(name, kind)
    try:
        if folder.exists():
            raise StorageError(f"{folder} is there already", hint="--output writes elsewhere")
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"can't write {folder}: {error.strerror}") from error
    next_steps = [f"pip install -e '{folder}[test]'", f"pytest {folder}", "mlms plugins"]
    if as_json:
        document = {"name": name, "kind": kind, "folder": str(folder), "files": sorted(files), "next": next_steps}
        click.echo(json.dumps(document, indent=2))
        return
    for path in sorted(files):
        click.echo(f"{folder / path}")
    click.echo(f"next: {' && '.join(next_steps)}", err=True)
