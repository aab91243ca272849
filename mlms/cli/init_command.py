"""``mlms init``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click


@click.command("init", epilog="Example: mlms init model my-net   (writes assets/models/my-net.yaml)")
@click.argument("kind", type=click.Choice(["manifest", "model", "framework", "dataset"]))
@click.argument("name")
@click.option("--file", type=click.Path(path_type=Path), help="Where to write it.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def command(kind: str, name: str, file: Path | None, force: bool) -> None:
    """Write a starter manifest or asset, valid as it is, with comments on what to change.

    The JSON Schema of its kind goes into ./.mlms/schemas, for editors that check YAML as it is typed.
    """
    from mlms.errors import StorageError
    from mlms.manifests.schema import schema
    from mlms.manifests.templates import starter

    folder = Path() if kind == "manifest" else Path("assets") / f"{kind}s"
    target = file if file is not None else folder / f"{name}.yaml"
    rules = Path(".mlms", "schemas", f"{kind}.json")
    text = starter(kind, name, Path(os.path.relpath(rules, target.parent)).as_posix())
    try:
        if target.exists() and not force:
            raise StorageError(f"{target} is there already", hint="--force overwrites it; --file writes elsewhere")
        rules.parent.mkdir(parents=True, exist_ok=True)
        rules.write_text(json.dumps(schema(kind), indent=2) + "\n", encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"can't write {target}: {error.strerror}") from error
    click.echo(f"{target}")
    if kind == "manifest":
        click.echo(f"next: mlms eval {target}", err=True)
    else:
        click.echo(f"next: mlms validate {target}", err=True)
