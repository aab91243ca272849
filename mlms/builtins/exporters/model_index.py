"""The ``model-index`` of a Hugging Face model card: metadata for the head of a repository's README.md.

The format is that of https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlms.builtins.exporters.eval_results import hub_dataset
from mlms.builtins.exporters.text import TextExporter, scored, section
from mlms.hooks import Component, Exporter, Run

METRIC_TYPES = {"top1": "accuracy"}
"""Our metrics that the Hub's list has under another name."""

OPTIONS = {
    "type": "object",
    "properties": {
        "dataset": {
            "title": "Dataset",
            "description": "The dataset's id on the Hub; else its homepage tells it, else its own name stands.",
            "type": "string",
            "minLength": 1,
        },
        "split": {"title": "Split", "description": "The dataset's split.", "type": "string", "minLength": 1},
        "revision": {"title": "Revision", "description": "The dataset's commit.", "type": "string", "minLength": 1},
    },
    "additionalProperties": False,
}


def render(runs: Sequence[Run], options: Mapping[str, Any]) -> str:
    """An entry a model with a result a run.

    Raises:
        InputError: a run reports no accuracy.
    """
    import yaml

    models: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        models.setdefault(run.record["model"]["name"], []).append(_result(run, options))
    index = {"model-index": [{"name": name, "results": results} for name, results in models.items()]}
    text: str = yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=120)
    return text


def _result(run: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    metrics = [
        {
            "type": METRIC_TYPES.get(metric["name"], metric["name"]),
            "value": metric["value"],
            "name": f"{metric['name']} ({metric['unit']})" if metric["unit"] else metric["name"],
            "verified": False,
        }
        for metric in scored(run)
    ]
    name = section(run, "dataset")["name"]
    dataset = {"type": options.get("dataset") or hub_dataset(run) or name, "name": name}
    dataset |= {key: options[key] for key in ("split", "revision") if key in options}
    task = run.record["model"]["task"]
    return {
        "task": {"type": task.replace("_", "-"), "name": task.replace("_", " ").capitalize()},
        "dataset": dataset,
        "metrics": metrics,
    }


COMPONENT: Component[Exporter] = Component(
    "model-index",
    lambda options, context: TextExporter(lambda runs: render(runs, options)),
    "Hugging Face's older model card metadata.",
    OPTIONS,
)
