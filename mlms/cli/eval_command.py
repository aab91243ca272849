"""``mlms eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlms.cli import options


@click.command(
    "eval",
    cls=options.ManifestCommand,
    epilog="Example: mlms eval manifests/digits.yaml --set scenario.min_duration=1s",
)
@click.argument("manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MANIFEST...")
@options.overrides
@click.option("--weights", metavar="random|FILE", help="Use these weights instead of the models' own.")
@click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:N or auto.")
@click.option(
    "--trace-level",
    metavar="LEVEL",
    help="How deep: none, application, model, framework, layer, operator, library, hardware.",
)
@options.leveled
@click.option("--interleave", is_flag=True, default=None, help="Let the repeats go round the evaluations: A B A B.")
@click.option("--warmup", type=options.warmup, metavar="COUNT|auto", help="Predictions before measuring, or auto.")
@options.profile
@options.executing
@options.running
def command(
    manifests: tuple[Path, ...],
    overrides: tuple[str, ...],
    weights: str | None,
    device: str | None,
    trace_level: str | None,
    leveled: bool,
    assets: tuple[Path, ...],
    output: Path | None,
    otlp: str | None,
    mirror: str | None,
    offline: bool,
    resume: bool,
    quiet: bool,
    as_json: bool,
    **execution: Any,
) -> None:
    """Evaluate the models of one or more manifests.

    Each evaluation is provisioned, loaded, warmed up, measured and scored, and leaves one run directory.
    """
    from mlms import api
    from mlms.cli.evaluating import evaluate_and_show
    from mlms.cli.shorthand import override, weights_override

    extra = [f"device={device}"] if device else []
    extra += [f"trace.level={trace_level}"] if trace_level else []
    extra += ["trace.leveled=true"] if leveled else []
    extra += [weights_override(weights)] if weights else []
    extra += [override(key, value) for key, value in execution.items() if value is not None]
    evaluate_and_show(
        manifests,
        overrides=[*overrides, *extra],
        assets=assets,
        settings=api.Settings(output, otlp, mirror, offline, resume),
        quiet=quiet,
        as_json=as_json,
    )
