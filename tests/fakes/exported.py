"""Runs for exporters: opened, with what the formats need beyond the common record, and the exporter by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fakes.records import record, write_run
from mlms.builtins.exporters import COMPONENTS
from mlms.hooks import Context, Run

EVALUATION: dict[str, Any] = {
    "name": "digits-cnn",
    "model": {
        "name": "digits-cnn",
        "version": "1.0.0",
        "input": [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}],
    },
    "dataset": {"name": "digits-test", "version": "1.0.0", "homepage": "https://example.org/digits"},
    "scenario": {"type": "single_stream", "min_queries": 100, "min_duration": 2.0, "max_duration": 60.0},
    "batch_size": 1,
    "device": "cpu",
    "dtype": "float32",
    "threads": None,
    "warmup": 10,
    "limit": None,
    "seed": 0,
    "options": {},
    "metrics": ["top1", "top5"],
    "trace": {"level": "model", "otlp": None},
}
FAILED: dict[str, Any] = {
    "status": "failed",
    "metrics": [],
    "latency": None,
    "throughput": None,
    "accuracy": {"reported": False, "reason": "the run failed"},
    "error": {"type": "ModelError", "message": "it broke \x00 <badly>", "hint": "mend it"},
}


def opened(root: Path, run_id: str = "20261123-211500-digits-cnn-1a2b3c4d", **changes: Any) -> Run:
    """A run directory with ``changes`` to its record."""
    return Run(write_run(root, run_id, **{"evaluation": EVALUATION, **changes}))


def changed(section: str, **values: Any) -> dict[str, Any]:
    """A section of the record with other values, to be passed to ``opened``."""
    return {section: {**record()[section], **values}}


def exported(name: str, *runs: Run, target: Path | None = None, **options: Any) -> str:
    """What the exporter of that name makes of the runs."""
    (component,) = (component for component in COMPONENTS if component.name == name)
    return component.make(options, Context(labels=lambda label: ())).export(runs, target)


def write_loadgen_logs(run: Run, valid: bool = True) -> None:
    """LoadGen's logs of a run, as short as they can be."""
    entries = {
        "requested_single_stream_expected_latency_ns": 70189,
        "effective_target_latency_percentile": 0.9,
        "effective_target_qps": 14247.2,
        "effective_min_duration_ms": 2000,
        "effective_max_duration_ms": 60000,
        "effective_min_query_count": 100,
        "effective_qsl_rng_seed": 2968811710,
        "result_validity": "VALID" if valid else "INVALID",
    }
    folder = run.path / "loadgen"
    folder.mkdir()
    lines = [f":::MLLOG {json.dumps({'key': key, 'value': value})}" for key, value in entries.items()]
    (folder / "mlperf_log_detail.txt").write_text("\n".join([*lines, ":::MLLOG {cut off", "noise"]), "utf-8")
    (folder / "mlperf_log_summary.txt").write_text(f"Result is : {entries['result_validity']}\n", "utf-8")
    (folder / "mlperf_log_accuracy.json").write_text("[]\n", "utf-8")
