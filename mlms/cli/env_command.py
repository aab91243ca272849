"""``mlms env``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlms.cli import options
from mlms.cli.columns import aligned

if TYPE_CHECKING:
    from mlms.environments.environment import Environment
    from mlms.manifests.catalog import Catalog


@click.group("env", epilog="Example: mlms env create mxnet")
def command() -> None:
    """Make, list and remove environments that frameworks run in.

    An evaluation makes the one it needs by itself. They lie in the cache ($MLMS_CACHE); frameworks with equal
    requirements share one.
    """


@command.command("create", epilog="Example: mlms env create mxnet tensorflow")
@click.argument("names", nargs=-1, required=True, metavar="FRAMEWORK...")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@options.assets
@options.as_json
def create(names: tuple[str, ...], quiet: bool, assets: tuple[Path, ...], as_json: bool) -> None:
    """Make the environments of frameworks.

    This takes uv where it is installed, else venv and pip. What is installed is locked with hashes first. An
    environment that is there already is left as it is.
    """
    from mlms import api
    from mlms.cli import console
    from mlms.environments.store import provide
    from mlms.errors import InputError

    catalog = api.load_catalog(assets)
    frameworks = [catalog.framework(name) for name in names]
    for framework in frameworks:
        if framework.environment.isolation != "venv":
            raise InputError(
                f"framework '{framework.name}' runs where mlms does and has no environment of its own",
                hint="its asset would say so: environment: {isolation: venv, requirements: [...]}",
            )
    progress = console.progress(quiet=quiet or as_json)
    _show([provide(each.environment, each.name, progress) for each in frameworks], catalog, as_json)


@command.command("list", epilog="Example: mlms env list --json")
@options.assets
@options.as_json
def list_(assets: tuple[Path, ...], as_json: bool) -> None:
    """List the environments that were made.

    The frameworks that share each are listed with it, and its size.
    """
    from mlms import api
    from mlms.environments.store import all_environments, folder

    found = all_environments()
    if not found and not as_json:
        click.echo(f"there are no environments in '{folder()}'; `mlms env create FRAMEWORK` makes one", err=True)
        return
    _show(found, api.load_catalog(assets), as_json)


@command.command("remove", epilog="Example: mlms env remove mxnet")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@options.as_json
def remove(names: tuple[str, ...], as_json: bool) -> None:
    """Remove environments.

    NAME is an environment's, or a framework's for all that were made for it.
    """
    from mlms.environments.store import remove as remove_environments

    gone = [environment for name in names for environment in remove_environments(name)]
    if as_json:
        click.echo(json.dumps([environment.name for environment in gone]))
    else:
        for environment in gone:
            click.echo(f"removed {environment.name}")


def _show(environments: Sequence[Environment], catalog: Catalog, as_json: bool) -> None:
    frameworks = _frameworks(catalog)
    rows = [_row(environment, frameworks.get(environment.folder, [])) for environment in environments]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    shown = [
        {
            **row,
            "frameworks": ", ".join(row["frameworks"]) or "-",
            "size": f"{row['size_bytes'] / 2**20:,.0f} MiB",
            "packages": len(row["packages"]),
        }
        for row in rows
    ]
    for line in aligned(["name", "frameworks", "python", "packages", "size", "folder"], shown):
        click.echo(line)


def _frameworks(catalog: Catalog) -> Mapping[Path, list[str]]:
    """By the environment's folder, the frameworks of the catalog that run in it."""
    from mlms.environments.store import folder_of

    found: dict[Path, list[str]] = {}
    for entry in catalog.entries("framework"):
        environment = catalog.framework(f"{entry.name}@{entry.version}").environment
        if environment.isolation == "venv":
            found.setdefault(folder_of(environment), []).append(entry.name)
    return found


def _row(environment: Environment, frameworks: Sequence[str]) -> dict[str, Any]:
    from mlms.environments.store import size_of

    return {
        "name": environment.name,
        "frameworks": list(frameworks),
        "python": environment.python,
        "requirements": list(environment.requirements),
        "packages": dict(environment.packages),
        "lock_sha256": environment.lock_sha256,
        "built_with": environment.built_with,
        "created": environment.created,
        "size_bytes": size_of(environment),
        "folder": str(environment.folder),
    }
