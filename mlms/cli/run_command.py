"""``mlms run``: one evaluation without a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlms.cli import options
from mlms.manifests.types import SCENARIOS


@click.command(
    "run",
    epilog="Example: mlms run image_classification --model alexnet --weights random --device cpu --batch-size 2",
)
@click.argument("task")
@click.option("--model", "-m", required=True, help="A model's name, or name@version.")
@click.option("--framework", "-f", help="A framework's name; the model's own if not given.")
@click.option("--dataset", "-d", default="synthetic", show_default=True, help="A dataset's name.")
@click.option("--dataset-path", type=click.Path(path_type=Path), help="Where the dataset's data lies.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or auto.")
@click.option("--batch-size", "-b", type=click.IntRange(min=1), help="Samples in one prediction.")
@click.option(
    "--warmup",
    type=options.warmup,
    metavar="COUNT|auto",
    default="10",
    show_default=True,
    help="Predictions before measuring, or auto.",
)
@click.option("--weights", metavar="random|FILE", help="Use these weights instead of the model's own.")
@click.option("--scenario", type=click.Choice(SCENARIOS), default="single_stream", show_default=True)
@click.option("--min-queries", type=click.IntRange(min=1), help="As many as the tail needs if not given.")
@click.option("--min-duration", default="2s", show_default=True, metavar="DURATION")
@click.option("--max-duration", default="60s", show_default=True, metavar="DURATION")
@click.option("--target-qps", type=float, metavar="QPS", help="Queries a second (server).")
@click.option("--target-latency", metavar="DURATION", help="What the tail must stay within (server, *_stream).")
@click.option("--samples-per-query", type=click.IntRange(min=1), metavar="N", help="multi_stream.")
@options.profile
@click.option(
    "--trace-level",
    default="model",
    show_default=True,
    metavar="LEVEL",
    help="How deep: none, application, model, framework, layer, operator, library, hardware.",
)
@options.leveled
@options.overrides
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first so many samples.")
@click.option("--seed", type=int, default=0, show_default=True)
@options.executing
@options.running
def command(
    task: str,
    model: str,
    framework: str | None,
    dataset: str,
    dataset_path: Path | None,
    weights: str | None,
    scenario: str,
    min_queries: int | None,
    min_duration: str,
    max_duration: str,
    target_qps: float | None,
    target_latency: str | None,
    samples_per_query: int | None,
    trace_level: str,
    leveled: bool,
    overrides: tuple[str, ...],
    assets: tuple[Path, ...],
    output: Path | None,
    otlp: str | None,
    mirror: str | None,
    offline: bool,
    resume: bool,
    quiet: bool,
    as_json: bool,
    **scalars: Any,
) -> None:
    """Evaluate one model without a manifest.

    TASK is what the model does, such as image_classification. Without a dataset, random tensors in the shape of the
    model's input are used, and no accuracy is reported.
    """
    from mlms import api
    from mlms.cli.evaluating import evaluate_and_show
    from mlms.cli.shorthand import weights_override
    from mlms.errors import InputError

    entry = api.load_catalog(assets).model(model)
    if entry.task != task:
        raise InputError(
            f"model '{model}' does {entry.task}, not {task}", hint=f"mlms run {entry.task} --model {model}"
        )
    data: dict[str, Any] = {"name": dataset}
    if dataset_path is not None:
        data["path"] = str(dataset_path.resolve())
    rules = {
        "type": scenario,
        "min_query_count": min_queries,
        "min_duration": min_duration,
        "max_duration": max_duration,
        "target_qps": target_qps,
        "target_latency": target_latency,
        "samples_per_query": samples_per_query,
    }
    manifest: dict[str, Any] = {
        "kind": "manifest",
        "schema_version": 1,
        "name": model.replace("@", "-"),
        "models": [model],
        "dataset": data if dataset_path is not None else dataset,
        "scenario": {key: value for key, value in rules.items() if value is not None},
        "trace": {"level": trace_level, "leveled": leveled},
        **{key: value for key, value in scalars.items() if value is not None},
    }
    if framework is not None:
        manifest["framework"] = framework
    evaluate_and_show(
        [manifest],
        overrides=[*overrides, *([weights_override(weights)] if weights else [])],
        assets=assets,
        settings=api.Settings(output, otlp, mirror, offline, resume),
        quiet=quiet,
        as_json=as_json,
    )
