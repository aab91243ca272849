"""What a finished run of an image classifier leaves: its record and its three tables, the same for the same seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from mlms.analysis.latency import summarize
from mlms.analysis.published import judged

STEPS = {"provision": 0.012, "load": 1.204, "warm_up": 0.102, "measure": 2.113, "score": 0.214, "record": 0.051}
PHASES = {"input_transfer": 0.05, "forward": 0.8, "output_transfer": 0.06}
LAYERS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "classifier")


@dataclass
class StoredRun:
    record: dict[str, Any]
    latencies: pl.DataFrame
    predictions: pl.DataFrame
    spans: pl.DataFrame


def stored_run(queries: int = 1024, *, layers: bool = False, seed: int = 0) -> StoredRun:
    """``layers`` adds to each measured prediction's span the framework's phases and the model's layers."""
    random = np.random.default_rng(seed)
    latencies = _latencies(random, queries)
    measured = latencies.filter(pl.col("phase") == "measured")["latency_ns"].to_numpy()
    predictions = _predictions(random, 450)
    spans = _spans(latencies, layers)
    accuracy = 100 * float(predictions["correct"].mean())
    record: dict[str, Any] = {
        "kind": "run",
        "schema_version": 1,
        "id": "20261123-211500-digits-cnn-1a2b3c4d",
        "name": "digits-cnn",
        "status": "finished",
        "digest": "1a2b3c4d" * 8,
        "mlms_version": "0.1.0",
        "started_at": "2026-11-23T21:15:00.123456Z",
        "finished_at": "2026-11-23T21:15:07.000000Z",
        "manifest": {
            "name": "digits",
            "path": "manifests/digits.yaml",
            "sha256": "5e" * 32,
            "git": {"commit": "0f" * 20, "dirty": False},
        },
        "evaluation": {
            "name": "digits-cnn",
            "model": {
                "name": "digits-cnn",
                "version": "1.0.0",
                "task": "image_classification",
                "source": {"factory": "digits:build", "arguments": {}},
                "preprocess": [{"rescale": {"factor": 0.0625}}],
            },
            "framework": {"name": "pytorch", "component": "pytorch", "distribution": "torch"},
            "dataset": {"name": "digits-test", "reader": {"name": "arrays"}, "labels": list("0123456789")},
            "scenario": {"type": "single_stream", "min_queries": 1024, "min_duration": 2.0, "max_duration": 60.0},
            "metrics": ["top1", "top5"],
            "batch_size": 1,
            "device": "cpu",
            "dtype": "float32",
            "threads": None,
            "warmup": 10,
            "workers": 2,
            "memory_mib": 512,
            "trace": {"level": "layer" if layers else "model", "otlp": None},
            "seed": 0,
            "options": {},
            "limit": None,
            "digest": "1a2b3c4d" * 8,
        },
        "model": {
            "name": "digits-cnn",
            "version": "1.0.0",
            "task": "image_classification",
            "describe": {"parameters": 9930, "size_bytes": 39720, "device": "cpu", "dtype": "float32"},
            "weights": {"origin": "file", "location": "digits-cnn.safetensors", "sha256": "ab" * 32, "seed": None},
        },
        "framework": {
            "name": "pytorch",
            "version": "1.0.0",
            "distribution": "torch",
            "installed": "2.15.0",
            "plugin": "mlms 0.1.0",
            "describe": {"build": "cpu, MKL, OpenMP", "threads": 2},
        },
        "dataset": {
            "name": "digits-test",
            "version": "1.0.0",
            "samples": 450,
            "evaluated": 450,
            "limit": None,
            "path": "assets/datasets/digits-test.npz",
        },
        "accuracy": {"reported": True, "reason": None},
        "metrics": [
            {
                "name": "top1",
                "value": accuracy,
                "unit": "%",
                "samples": 450,
                "published": {
                    "value": accuracy,
                    "dataset": "digits-test",
                    "source": "https://example.org/digits",
                    "difference": 0.0,
                },
            },
            {"name": "top5", "value": 100.0, "unit": "%", "samples": 450, "published": None},
        ],
        "scenario": {
            "type": "single_stream",
            "loadgen_version": "6.0.17",
            "valid": True,
            "problems": [],
            "min_queries": 1024,
            "min_duration_s": 2.0,
            "max_duration_s": 60.0,
        },
        "latency": {
            **summarize(measured),
            "samples_per_query": 1,
            "warmup_queries": 10,
        },
        "throughput": {"value": 1e9 / float(measured.mean()), "unit": "samples/s", "duration_s": 2.113},
        "steps": [{"name": name, "seconds": seconds} for name, seconds in STEPS.items()],
        "trace": {"level": "layer" if layers else "model", "trace_id": "c0" * 16, "spans": spans.height, "otlp": None},
        "seeds": {"evaluation": 0, "loadgen_qsl": 1, "loadgen_sample_index": 2, "loadgen_schedule": 3},
        "environment": {
            "fingerprint": "9d" * 32,
            "cpu": {
                "model": "AMD EPYC 7763 64-Core Processor",
                "architecture": "x86_64",
                "cores_physical": 2,
                "cores_logical": 2,
            },
            "memory_bytes": 25769803776,
            "os": {"system": "Linux", "release": "6.1.0", "distribution": "Debian GNU/Linux 12"},
            "python": {"version": "3.11.7", "implementation": "CPython"},
            "packages": {"torch": "2.15.0", "torchvision": "0.20.0", "numpy": "2.4.6", "mlcommons-loadgen": "6.0.17"},
            "gpus": [],
            "variables": {"OMP_NUM_THREADS": "2"},
        },
        "warnings": [],
        "files": {
            "latencies": "latencies.parquet",
            "predictions": "predictions.parquet",
            "spans": "spans.parquet",
            "log": "log.txt",
            "report": "report.html",
        },
    }
    record["metrics"] = [judged(metric) for metric in record["metrics"]]
    return StoredRun(record, latencies, predictions, spans)


def _latencies(random: np.random.Generator, queries: int) -> pl.DataFrame:
    """Ten slow, settling warm-up queries, then a skewed distribution with a slower mode and rare outliers."""
    warm = (900_000 * np.exp(-np.arange(10) / 2) + 82_000).astype(np.int64)
    body = 74_000 + random.gamma(4.0, 2_000, queries) + 14_000 * (random.random(queries) < 0.12)
    body += (random.random(queries) < 0.004) * random.exponential(120_000, queries)
    values = np.concatenate([warm, body.astype(np.int64)])
    starts = 1_795_469_700_000_000_000 + np.concatenate([[0], np.cumsum(values[:-1] + 6_000)])
    starts[10:] += 4_000_000
    return pl.DataFrame(
        {
            "query": np.concatenate([np.arange(10), np.arange(queries)]),
            "phase": ["warmup"] * 10 + ["measured"] * queries,
            "start_ns": starts,
            "latency_ns": values,
            "samples": np.ones(len(values), dtype=np.int64),
        }
    )


def _predictions(random: np.random.Generator, samples: int) -> pl.DataFrame:
    targets = random.integers(0, 10, samples)
    likely = {8: 1, 9: 4, 3: 8, 5: 9}
    wrong = (random.random(samples) < 0.02) | (np.isin(targets, list(likely)) & (random.random(samples) < 0.06))
    classes = [likely.get(int(t), (int(t) + 3) % 10) if w else int(t) for t, w in zip(targets, wrong, strict=True)]
    best = np.where(wrong, random.uniform(0.35, 0.8, samples), random.beta(30, 1, samples))
    return pl.DataFrame(
        {
            "sample": [f"{index:04}" for index in range(samples)],
            "target": targets,
            "class": classes,
            "label": [str(index) for index in classes],
            "classes": [[first, (first + 1) % 10, (first + 2) % 10] for first in classes],
            "scores": [[score, (1 - score) * 0.8, (1 - score) * 0.2] for score in best],
            "correct": targets == np.array(classes),
        }
    )


def _spans(latencies: pl.DataFrame, layers: bool) -> pl.DataFrame:
    """An evaluation, its steps, and each query's prediction below the step that made it."""
    rows: list[tuple[Any, ...]] = []

    def add(parent: str | None, name: str, level: str, start: int, duration: float, **attributes: Any) -> str:
        number = f"{len(rows) + 1:016x}"
        end = start + int(duration)
        rows.append(("c0" * 16, number, parent, name, level, start, end, "unset", None, json.dumps(attributes)))
        return number

    first = int(latencies["start_ns"][0])
    origin = first - int((STEPS["provision"] + STEPS["load"]) * 1e9)
    root = add(None, "evaluate", "application", origin, sum(STEPS.values()) * 1e9, **{"mlms.evaluation": "digits-cnn"})
    steps, start = {}, origin
    for name, seconds in STEPS.items():
        steps[name] = add(root, name, "application", start, seconds * 1e9)
        start += int(seconds * 1e9)
    for phase, began, took in latencies.select("phase", "start_ns", "latency_ns").iter_rows():
        parent = steps["warm_up" if phase == "warmup" else "measure"]
        query = add(parent, "predict", "model", began, took, batch_size=1)
        if layers and phase == "measured":
            offset = 0
            for name, share in PHASES.items():
                inner = add(query, name, "framework", began + offset, took * share)
                if name == "forward":
                    for layer in LAYERS:
                        add(inner, layer, "layer", began + offset, took * share / len(LAYERS))
                offset += int(took * share)
    columns = ("trace_id", "span_id", "parent_id", "name", "level", "start_ns", "end_ns", "status", "status_message")
    schema = {name: pl.Int64 if name in ("start_ns", "end_ns") else pl.String for name in (*columns, "attributes")}
    return pl.DataFrame(rows, schema=schema, orient="row")
