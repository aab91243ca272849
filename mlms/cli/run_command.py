"""``mlms run``: one evaluation without a manifest."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from mlms.cli import options
from mlms.errors import DocumentError, InputError, Place, Problem
from mlms.manifests.types import SCENARIOS
from mlms.tracing.levels import LEVELS

OPTIONS = {
    "model": "--model",
    "models": "--model",
    "framework": "--framework",
    "dataset": "--dataset",
    "dataset.path": "--dataset-path",
    "device": "--device",
    "dtype": "--dtype",
    "threads": "--threads",
    "batch_size": "--batch-size",
    "warmup": "--warmup",
    "scenario.type": "--scenario",
    "scenario.min_query_count": "--min-queries",
    "scenario.min_duration": "--min-duration",
    "scenario.max_duration": "--max-duration",
    "scenario.target_qps": "--target-qps",
    "scenario.target_latency": "--target-latency",
    "scenario.samples_per_query": "--samples-per-query",
    "profile": "--profile",
    "trace.level": "--trace-level",
    "trace.leveled": "--leveled",
    "limit": "--limit",
    "seed": "--seed",
    "isolation": "--isolation",
    "timeout": "--timeout",
    "repeat": "--repeat",
    "cold_start": "--cold-start",
    "profilers": "--profiler",
}
"""Keys of the manifest that is made here, and the options that they come from."""
UNSEEN = "the manifest"
"""The place of what stands in a manifest that was handed over as a mapping."""


@click.command(
    "run",
    cls=options.ManifestCommand,
    epilog="Example: mlms run image_classification --model alexnet --weights random --device cpu --batch-size 2",
)
@click.argument("task")
@click.option("--model", "-m", required=True, help="A model's name, or name@version.")
@click.option("--framework", "-f", help="A framework's name; the model's own if not given.")
@click.option("--dataset", "-d", default="synthetic", show_default=True, help="A dataset's name.")
@click.option("--dataset-path", type=click.Path(path_type=Path), help="Where the dataset's data lies.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or auto.")
@click.option("--batch-size", "-b", type=click.IntRange(min=1), help="Samples in one prediction.")
@click.option("--dtype", metavar="TYPE", help="float32, float16, bfloat16 or float64.")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads within one operator.")
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
    try:
        evaluate_and_show(
            [manifest],
            overrides=[*overrides, *([weights_override(weights)] if weights else [])],
            assets=assets,
            settings=api.Settings(output, otlp, mirror, offline, resume),
            quiet=quiet,
            as_json=as_json,
        )
    except InputError as error:
        raise in_options(error) from error


def in_options(error: InputError) -> InputError:
    """The same error in terms of what the user wrote, who has seen no manifest."""
    if isinstance(error, DocumentError):
        return DocumentError([_in_options(problem) for problem in error.problems])
    if error.place is not None and error.place.file == UNSEEN:
        error.place = None
    return error


def _in_options(problem: Problem) -> Problem:
    if problem.place.file != UNSEEN:
        return problem
    keys = problem.path.split(".")
    ways = [".".join(keys[:end]) for end in range(len(keys), 0, -1)]
    option = next((OPTIONS[way] for way in ways if way in OPTIONS), None)
    return Problem(Place(option or "mlms run"), "", _named(problem.message), problem.hint and _named(problem.hint))


def _named(text: str) -> str:
    """A text with options in place of the keys in it; those of one word only where they are quoted as keys are, and
    the names of trace levels never.
    """
    for way, option in OPTIONS.items():
        key = way.rpartition(".")[2]
        if key not in LEVELS:
            text = re.sub(rf"'(scenario\.|trace\.)?{key}'", option, text)
        text = re.sub(rf"\b{re.escape(way)}\b", option, text) if "." in way else text
        if "_" in key:
            text = re.sub(rf"\b(scenario\.)?{key}\b", option, text)
    return text
