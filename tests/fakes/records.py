"""A run record that fits the schema, and whole run directories made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlms.analysis.latency import summarize
from mlms.analysis.published import judged
from mlms.runs.directory import FILES, RunDirectory
from mlms.tracing.spans import predictions

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def record(run_id: str = "20261123-211500-digits-cnn-1a2b3c4d", **changes: Any) -> dict[str, Any]:
    """A finished run of a digits model, with ``changes`` to its top-level keys."""
    return {
        "kind": "run",
        "schema_version": 1,
        "id": run_id,
        "name": "digits-cnn",
        "status": "finished",
        "digest": "1a2b3c4d" * 8,
        "mlms_version": "0.1.0",
        "started_at": "2026-11-23T21:15:00.123456Z",
        "finished_at": "2026-11-23T21:15:07.000000Z",
        "manifest": {"name": "digits", "path": None, "sha256": None, "git": None},
        "evaluation": {"name": "digits-cnn"},
        "model": {
            "name": "digits-cnn",
            "version": "1.0.0",
            "task": "image_classification",
            "describe": {"parameters": 9930, "size_bytes": 39720, "device": "cpu", "dtype": "float32"},
            "weights": {"origin": "file", "location": "digits.safetensors", "sha256": "ab" * 32, "seed": None},
        },
        "framework": {
            "name": "pytorch",
            "version": "1.0.0",
            "distribution": "torch",
            "installed": "2.15.0",
            "plugin": "mlms 0.1.0",
            "describe": {"threads": 2},
        },
        "dataset": {
            "name": "digits-test",
            "version": "1.0.0",
            "samples": 450,
            "evaluated": 450,
            "limit": None,
            "path": None,
        },
        "accuracy": {"reported": True, "reason": None},
        "metrics": [
            {
                "name": "top1",
                "value": 98.8889,
                "unit": "%",
                "samples": 450,
                "published": {"value": 98.8889, "dataset": "digits-test", "source": None, "difference": 0.0},
            },
            {"name": "top5", "value": 100.0, "unit": "%", "samples": 450, "published": None},
        ],
        "scenario": {
            "type": "single_stream",
            "loadgen_version": "6.0.17",
            "valid": True,
            "problems": [],
            "min_queries": 100,
            "min_duration_s": 2.0,
            "max_duration_s": 60.0,
        },
        "latency": {
            "unit": "ns",
            "queries": 100,
            "samples_per_query": 1,
            "warmup_queries": 10,
            "mean": 81234.5,
            "min": 70123,
            "max": 301234,
            "stdev": 5012.1,
            "percentiles": [
                {"percentile": 50.0, "value": 80111, "needed": 11},
                {"percentile": 90.0, "value": 90222, "needed": 64},
                {"percentile": 99.0, "value": None, "needed": 662},
            ],
        },
        "throughput": {"value": 12000.1, "unit": "samples/s", "duration_s": 2.01},
        "steps": [{"name": "load", "seconds": 1.2}],
        "trace": {"level": "model", "trace_id": TRACE_ID, "spans": 2, "otlp": None},
        "seeds": {"evaluation": 0, "loadgen_qsl": 1, "loadgen_sample_index": 2, "loadgen_schedule": 3},
        "environment": {
            "fingerprint": "cd" * 32,
            "cpu": {"model": "A CPU", "architecture": "x86_64", "cores_physical": 2, "cores_logical": 2},
            "memory_bytes": 25769803776,
            "os": {"system": "Linux", "release": "6.1.0", "distribution": "Debian GNU/Linux 12"},
            "python": {"version": "3.11.7", "implementation": "CPython"},
            "packages": {"torch": "2.15.0"},
            "gpus": [],
            "variables": {},
        },
        "warnings": [],
        "files": {kind: name for kind, name in FILES.items() if kind != "counters"},
        **changes,
    }


def write_run(root: Path, run_id: str = "20261123-211500-digits-cnn-1a2b3c4d", **changes: Any) -> Path:
    """A whole run directory."""
    instants = np.array([10, 20], dtype=np.int64)
    with RunDirectory.create(root, run_id) as directory:
        directory.write_latencies(
            pl.DataFrame(
                {
                    "query": [0, 1],
                    "phase": ["warmup", "measured"],
                    "start_ns": [1, 2],
                    "latency_ns": [5, 6],
                    "samples": 1,
                }
            )
        )
        directory.write_predictions([{"sample": "a.png", "classes": [1, 2]}, {"sample": "b.png", "classes": [3, 4]}])
        table = predictions(TRACE_ID, None, "predict", instants, instants + 1, {})
        with directory.scratch() as scratch:
            directory.write_spans([table], table.resource, scratch)
        directory.write_record(record(directory.id, **changes))
    return directory.path


def write_measured_run(
    root: Path,
    name: str,
    latencies_ns: np.ndarray[Any, np.dtype[np.int64]],
    correct: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
    **changes: Any,
) -> Path:
    """A run directory whose record says of the latencies (one query after the other) and of the samples answered
    right what the executor would; without ``correct`` no accuracy is reported.
    """
    count = len(latencies_ns)
    starts = 1_795_469_700_000_000_000 + np.concatenate([[0], np.cumsum(latencies_ns + 5_000)[:-1]])
    seconds = float(starts[-1] + latencies_ns[-1] - starts[0]) / 1e9
    files = {kind: file for kind, file in FILES.items() if kind not in ("spans", "report")}
    metrics: list[dict[str, Any]] = []
    if correct is None:
        del files["predictions"]
    else:
        figures = {"top1": 100 * float(correct.mean()), "top5": 100.0}
        metrics = [
            judged({"name": metric, "value": value, "unit": "%", "samples": len(correct), "published": None})
            for metric, value in figures.items()
        ]
    parts = {
        "name": name,
        "metrics": metrics,
        "accuracy": {"reported": correct is not None, "reason": None if correct is not None else "random weights"},
        "latency": {**summarize(latencies_ns), "samples_per_query": 1, "warmup_queries": 0},
        "throughput": {"value": count / seconds, "unit": "samples/s", "duration_s": seconds},
        "files": files,
    }
    with RunDirectory.create(root, f"20261123-211500-{name}-1a2b3c4d") as directory:
        columns = {
            "query": range(count),
            "phase": "measured",
            "start_ns": starts,
            "latency_ns": latencies_ns,
            "samples": 1,
        }
        directory.write_latencies(pl.DataFrame(columns))
        if correct is not None:
            directory.write_predictions(
                {
                    "sample": f"{n:04}",
                    "target": n % 10,
                    "classes": [n % 10 if right else (n + 1) % 10, n % 10, 10, 11, 12],
                }
                for n, right in enumerate(correct)
            )
        directory.write_record(record(directory.id, **{**parts, **changes}))
    return directory.path
