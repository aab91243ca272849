"""Hugging Face's evaluation results: a YAML file for a model repository's folder ``.eval_results/``.

The format (https://huggingface.co/docs/hub/eval-results, https://github.com/huggingface/hub-docs) names a benchmark
dataset of the Hub and one task of it, and holds one figure for the two; it has no place for latency.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlms.builtins.exporters.text import TextExporter, scored, section
from mlms.errors import InputError
from mlms.hooks import Component, Exporter, Run

OPTIONS = {
    "type": "object",
    "properties": {
        "dataset": {
            "title": "Dataset",
            "description": "The benchmark's id on the Hub; else the dataset's homepage tells it.",
            "type": "string",
            "pattern": "^[\\w.-]+/[\\w.-]+$",
        },
        "task_id": {
            "title": "Task",
            "description": "The task's id in the benchmark's eval.yaml.",
            "type": "string",
            "minLength": 1,
            "default": "default",
        },
        "revision": {"title": "Revision", "description": "The dataset's commit.", "type": "string", "minLength": 1},
        "metric": {
            "title": "Metric",
            "description": "Which figure to give; the first one if not said.",
            "type": "string",
            "minLength": 1,
        },
        "source": {
            "title": "Source",
            "description": "Where the run can be looked at.",
            "type": "string",
            "pattern": "^https?://",
        },
    },
    "additionalProperties": False,
}

_HUB = re.compile(r"https://huggingface\.co/datasets/([\w.-]+/[\w.-]+)/?")


def render(runs: Sequence[Run], options: Mapping[str, Any]) -> str:
    """One entry a run.

    Raises:
        InputError: the runs are of several models, one has no such metric, or its dataset isn't known to the Hub.
    """
    import yaml

    models = {section(run, "model").get("name") for run in runs}
    if len(models) > 1:
        raise InputError(
            f"these runs are of {len(models)} models: {', '.join(sorted(map(str, models)))}",
            hint="a results file belongs to one model's repository; export each model's runs on their own",
        )
    text: str = yaml.safe_dump([_entry(run, options) for run in runs], sort_keys=False, allow_unicode=True, width=120)
    return text


def hub_dataset(run: Run) -> str | None:
    """The Hub's id of a run's dataset, where its homepage is there."""
    found = _HUB.fullmatch((section(run, "evaluation").get("dataset") or {}).get("homepage") or "")
    return found[1] if found else None


def _entry(run: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    figures = {metric["name"]: metric["value"] for metric in scored(run)}
    metric = options.get("metric", next(iter(figures)))
    if metric not in figures:
        raise InputError(f"run {run.id} has no metric '{metric}'", hint=f"it has {', '.join(figures)}")
    dataset = {"id": options.get("dataset") or hub_dataset(run), "task_id": options.get("task_id", "default")}
    if dataset["id"] is None:
        raise InputError(
            f"this format names a benchmark on the Hugging Face Hub, and none is known for "
            f"dataset '{section(run, 'dataset').get('name')}'",
            hint="say which it is, such as --set dataset=ORGANISATION/NAME --set task_id=default",
        )
    if "revision" in options:
        dataset["revision"] = options["revision"]
    entry: dict[str, Any] = {"dataset": dataset, "value": figures[metric], "date": run.record["finished_at"]}
    if "source" in options:
        entry["source"] = {"url": options["source"], "name": "mlms run"}
    return {**entry, "notes": _notes(run, metric)}


def _notes(run: Run, metric: str) -> str:
    """What one has to know of the figure, and what finds the run again."""
    framework, dataset = section(run, "framework"), section(run, "dataset")
    facts = [
        metric,
        f"{dataset['evaluated']} of {dataset['samples']} samples",
        f"{framework['distribution']} {framework['installed']}",
        str((section(run, "model").get("describe") or {}).get("dtype", "")),
        f"mlms {run.record['mlms_version']} run {run.id}",
    ]
    return ", ".join(fact for fact in facts if fact)


COMPONENT: Component[Exporter] = Component(
    "huggingface",
    lambda options, context: TextExporter(lambda runs: render(runs, options)),
    "Hugging Face's .eval_results YAML for a model repository.",
    OPTIONS,
)
