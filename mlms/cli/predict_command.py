"""``mlms predict``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mlms.cli import options


@click.command("predict", epilog="Example: mlms predict resnet50 cat.jpg dog.jpg")
@click.argument("model")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or auto.")
@click.option("--weights", metavar="random", help="'random' to try a model without its weights.")
@options.fetching
@click.option("--quiet", "-q", is_flag=True, help="No progress, only the result.")
@options.assets
@options.as_json
def command(
    model: str,
    files: tuple[Path, ...],
    device: str,
    weights: str | None,
    mirror: str | None,
    offline: bool,
    quiet: bool,
    assets: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Show what a model says about files.

    Files are images, or .npy arrays as the model's preprocessing takes them.
    """
    from mlms import api
    from mlms.cli import console

    if weights == "random":
        click.echo("the weights are random, so the answers mean nothing", err=True)
    for prediction in api.predict(
        model,
        files,
        device=device,
        weights=weights,
        assets=assets,
        settings=api.Settings(mirror=mirror, offline=offline),
        progress=console.progress(quiet),
    ):
        if as_json:
            click.echo(json.dumps({"file": str(prediction.file), **prediction.described}))
        else:
            click.echo(f"{prediction.file}")
            for name, value in prediction.described.items():
                if value is not None:  # as labels are where the model has none
                    click.echo(f"  {name}: {_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)
