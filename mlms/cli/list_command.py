"""``mlms list``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import click

from mlms.cli import options
from mlms.cli.columns import aligned
from mlms.manifests.names import suggestion

ASSETS = ("models", "frameworks", "datasets")
COMPONENTS = ("processors", "readers", "tasks", "metrics", "profilers", "exporters")


class Plural(click.Choice[str]):
    """Words of the plural, which may be given in the singular."""

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> str:
        word = f"{value}s" if f"{value}s" in self.choices else value
        if word not in self.choices:
            mend = suggestion(word, self.choices, "mlms list --help", shown=len(self.choices))
            self.fail(f"there are no '{value}'; {mend}", parameter, context)
        return super().convert(word, parameter, context)


@click.command("list", epilog="Example: mlms list models --task image_classification --name 'resnet*'")
@click.argument("what", type=Plural([*ASSETS, *COMPONENTS]), metavar="WHAT")
@click.option("--task", help="Only those of this task.")
@click.option("--framework", help="Only models of this framework.")
@click.option("--tag", "tags", multiple=True, help="Only those with this tag (several: with all of them).")
@click.option("--name", metavar="PATTERN", help="Only names that match, such as 'resnet*'.")
@options.assets
@options.as_json
def command(
    what: str,
    task: str | None,
    framework: str | None,
    tags: tuple[str, ...],
    name: str | None,
    assets: tuple[Path, ...],
    as_json: bool,
) -> None:
    """List models, frameworks, datasets and components.

    WHAT is models, frameworks, datasets, processors, readers, tasks, metrics,
    profilers or exporters.
    """
    if what in COMPONENTS and (task or framework or tags):
        raise click.UsageError(f"--task, --framework and --tag are for assets; {what} have a --name only")
    rows = list(_asset_rows(what, assets) if what in ASSETS else _component_rows(what))
    rows = [
        row
        for row in rows
        if (task is None or row.get("task") == task)
        and (framework is None or row.get("framework") == framework)
        and set(tags) <= set(row.get("tags", ()))
        and (name is None or fnmatch(row["name"], name))
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    columns = ["name", "version", "task", "description"] if what in ASSETS else ["name", "plugin", "summary"]
    for line in aligned(columns, rows):
        click.echo(line)


def _asset_rows(what: str, assets: Sequence[Path]) -> Iterator[dict[str, Any]]:
    from mlms import api

    catalog = api.load_catalog(assets)
    for entry in catalog.entries(what.removesuffix("s")):  # type: ignore[arg-type]
        yield {
            "name": entry.name,
            "version": entry.version,
            "task": entry.task,
            "framework": entry.framework,
            "tags": list(entry.tags),
            "description": entry.description,
            "path": str(entry.path),
        }
    for problem in catalog.problems():
        click.secho(f"warning: left out: {problem}", err=True, fg="yellow")


def _component_rows(what: str) -> Iterator[dict[str, Any]]:
    from mlms import api

    for entry in api.load_plugins().registries[what.removesuffix("s")]:
        yield {"name": entry.component.name, "plugin": str(entry.plugin), "summary": entry.component.summary}
