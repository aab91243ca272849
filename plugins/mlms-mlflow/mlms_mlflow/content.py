"""What MLflow is told of a run: parameters, metrics and tags, from its record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlms.hooks import Run

RUN_ID = "mlms.run_id"
MAX_PARAM = 500
"""The longest parameter that every MLflow takes since 2.0 (newer ones take 6,000 characters)."""

_NOT_IN_NAMES = re.compile(r"[^\w./ -]")


def params(run: Run) -> dict[str, str]:
    """What was asked for: the evaluation's settings, and what it was made of."""
    record = run.record
    evaluation = record.get("evaluation") or {}
    found: dict[str, Any] = {}
    for part in ("model", "framework", "dataset"):
        asset = record.get(part) or {}
        found[part], found[f"{part}_version"] = asset.get("name"), asset.get("version")
    found["framework_installed"] = (record.get("framework") or {}).get("installed")
    found["weights_sha256"] = ((record.get("model") or {}).get("weights") or {}).get("sha256")
    found |= {key: value for key, value in evaluation.items() if isinstance(value, str | int | float)}
    found |= dict(_flat("scenario", evaluation.get("scenario") or {}))
    found |= dict(_flat("options", evaluation.get("options") or {}))
    found["trace_level"] = (evaluation.get("trace") or {}).get("level")
    for told_elsewhere in ("name", "digest"):
        found.pop(told_elsewhere, None)
    return {_name(key): str(value)[:MAX_PARAM] for key, value in found.items() if value is not None}


def metrics(run: Run) -> dict[str, float]:
    """What came of it: metrics by name, latencies in ns, throughput, resources; without those that are withheld."""
    record = run.record
    latency, throughput = record.get("latency") or {}, record.get("throughput") or {}
    found: dict[str, Any] = {entry["name"]: entry["value"] for entry in record["metrics"]}
    found |= {f"latency.{name}_ns": latency.get(name) for name in ("mean", "min", "max", "stdev")}
    found |= {f"latency.p{entry['percentile']:g}_ns": entry["value"] for entry in latency.get("percentiles", ())}
    found["throughput"] = throughput.get("value")
    found |= dict(_flat("resources", record.get("resources") or {}))
    return {_name(key): float(value) for key, value in found.items() if _is_number(value)}


def tags(run: Run) -> dict[str, str]:
    """What finds the run again and says how far it can be trusted."""
    record = run.record
    environment, manifest = record.get("environment") or {}, record.get("manifest") or {}
    scenario = record.get("scenario") or {}
    git = manifest.get("git") or {}
    found = {
        RUN_ID: run.id,
        "mlms.digest": record["digest"],
        "mlms.version": record.get("mlms_version"),
        "mlms.environment": environment.get("fingerprint"),
        "mlms.scenario.valid": str(scenario["valid"]).lower() if "valid" in scenario else None,
        "mlms.scenario.problems": "; ".join(scenario.get("problems") or ()) or None,
        "mlms.throughput.unit": (record.get("throughput") or {}).get("unit"),
        **{f"mlms.unit.{_name(metric['name'])}": metric["unit"] or None for metric in record["metrics"]},
        "mlflow.source.name": "mlms",
        "mlflow.source.git.commit": git.get("commit"),
        "mlflow.note.content": "\n".join(
            f"- {row.label}: {row.value}" + (f" ({row.note})" if row.note else "") for row in run.summary
        ),
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}", value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(text: str) -> str:
    """A name that MLflow takes: letters, digits, ``_``, ``-``, ``.``, ``/`` and spaces."""
    return _NOT_IN_NAMES.sub("_", text)
