"""CSV (RFC 4180, with bare line feeds): one line a run, or the raw latencies or predictions of runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mlms.builtins.exporters.text import TextExporter, by_level, section
from mlms.errors import InputError
from mlms.hooks import Component, Exporter, Run

Row = Mapping[str, Any]

OPTIONS = {
    "type": "object",
    "properties": {
        "table": {
            "title": "Table",
            "description": "One line a run, a query or a sample.",
            "type": "string",
            "enum": ["runs", "latencies", "predictions"],
            "default": "runs",
        }
    },
    "additionalProperties": False,
}


def render_runs(runs: Sequence[Run]) -> str:
    """One line a run; a figure that a run lacks is an empty cell.

    Raises:
        InputError: the runs were traced at different levels.
    """
    levels = by_level(runs)
    if len(levels) > 1:
        raise InputError(
            f"runs traced at different levels ({', '.join(levels)}) don't compare, so they share no table",
            hint="export the runs of each level to a file of their own, or use --format markdown",
        )
    return _write([_summary(run) for run in runs])


def render_latencies(runs: Sequence[Run]) -> str:
    """One line a query, warm-up included: the columns of ``latencies.parquet`` after the run's id."""
    return _write({"run": run.id, **row} for run in runs for row in run.latencies.iter_rows(named=True))


def render_predictions(runs: Sequence[Run]) -> str:
    """One line a sample: the columns of ``predictions.parquet`` after the run's id, lists as JSON.

    Raises:
        InputError: a run kept no predictions.
    """
    for run in runs:
        if "predictions" not in section(run, "files"):
            raise InputError(
                f"run {run.id} kept no predictions", hint=section(run, "accuracy").get("reason") or "export another run"
            )
    return _write({"run": run.id, **row} for run in runs for row in run.predictions.iter_rows(named=True))


def _summary(run: Run) -> dict[str, Any]:
    record = run.record
    model, framework, dataset = (section(run, name) for name in ("model", "framework", "dataset"))
    evaluation, scenario, latency = (section(run, name) for name in ("evaluation", "scenario", "latency"))
    throughput = section(run, "throughput")
    describe = model.get("describe") or {}
    row = {
        "run": run.id,
        "name": run.name,
        "status": record.get("status"),
        "started_at": record["started_at"],
        "model": model.get("name"),
        "model_version": model.get("version"),
        "weights_sha256": (model.get("weights") or {}).get("sha256"),
        "task": model.get("task"),
        "framework": framework.get("distribution"),
        "framework_version": framework.get("installed"),
        "dataset": dataset.get("name"),
        "samples": dataset.get("evaluated"),
        "device": describe.get("device"),
        "dtype": describe.get("dtype"),
        "batch_size": evaluation.get("batch_size"),
        "scenario": scenario.get("type"),
        "valid": scenario.get("valid"),
        "trace_level": section(run, "trace").get("level"),
        "queries": latency.get("queries"),
        "throughput": throughput.get("value"),
        "throughput_unit": throughput.get("unit"),
        "latency_mean_ns": latency.get("mean"),
    }
    for entry in latency.get("percentiles", ()):
        row[f"latency_p{entry['percentile']:g}_ns"] = entry["value"]
    for metric in record["metrics"]:
        row[metric["name"]] = metric["value"]
        row[f"{metric['name']}_unit"] = metric["unit"]
    row["fingerprint"] = section(run, "environment").get("fingerprint")
    row["mlms_version"] = record.get("mlms_version")
    row["digest"] = record["digest"]
    return row


def _write(rows: Iterable[Row]) -> str:
    found = list(rows)
    columns = list(dict.fromkeys(column for row in found for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: _cell(value) for column, value in row.items()} for row in found)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


RENDERERS: Mapping[str, Callable[[Sequence[Run]], str]] = {
    "runs": render_runs,
    "latencies": render_latencies,
    "predictions": render_predictions,
}

COMPONENT: Component[Exporter] = Component(
    "csv",
    lambda options, context: TextExporter(RENDERERS[options.get("table", "runs")]),
    "One line a run; raw latencies or predictions with --set table=...",
    OPTIONS,
)
