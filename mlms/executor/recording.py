"""What a finished evaluation leaves behind: the record, the frames, the spans, the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import mlms
from mlms.analysis.latency import summarize
from mlms.executor.binding import Bound
from mlms.executor.measuring import Timings
from mlms.executor.provision import WeightsFile
from mlms.executor.scoring import Scores
from mlms.executor.session import Session
from mlms.manifests.resolver import evaluation_data
from mlms.manifests.types import Evaluation, Plan
from mlms.progress import Progress
from mlms.runs.directory import FILES, RunDirectory
from mlms.runs.environment import describe_environment, git_state
from mlms.runs.record import SCHEMA_VERSION
from mlms.runs.run import Run
from mlms.scenarios.loadgen import Measurement, Seeds
from mlms.tracing.clock import unix_ns
from mlms.tracing.otlp import ExportReport, endpoint_from_environment, send
from mlms.tracing.session import Step
from mlms.tracing.spans import SpanTable, predictions

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("mlms")

PACKAGES = ("mlms", "numpy", "mlcommons-loadgen", "opentelemetry-sdk", "torchmetrics", "torchvision", "pillow")
"""Recorded with every run, besides the framework's own distribution."""


class Warnings:
    """Told to the user at once, to the log, and kept for the record."""

    def __init__(self, progress: Progress) -> None:
        self.messages: list[str] = []
        self._progress = progress

    def add(self, message: str) -> None:
        self.messages.append(message)
        self._progress.warn(message)
        log.warning(message)


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything that the record is made of. ``samples`` is the dataset's length, ``model`` the predictor's facts."""

    id: str
    started: datetime
    evaluation: Evaluation
    plan: Plan
    bound: Bound
    weights: WeightsFile
    model: Mapping[str, Any]
    samples: int
    warmed_up: Timings
    measurement: Measurement
    seeds: Seeds
    scores: Scores
    steps: Mapping[str, float]
    trace_id: str | None
    spans: int
    export: ExportReport | None
    warnings: tuple[str, ...]


def latency_frame(evaluation: Evaluation, warmed_up: Timings, measurement: Measurement) -> pl.DataFrame:
    """The rows of ``latencies.parquet``: one a prediction, ``query`` counted within its phase."""
    import polars as pl

    starts = np.concatenate([warmed_up.starts, measurement.starts])
    ends = np.concatenate([warmed_up.ends, measurement.ends])
    sizes = [evaluation.batch_size] * len(warmed_up.starts) + [len(positions) for positions in measurement.answered]
    return pl.DataFrame(
        {
            "query": np.concatenate([np.arange(len(warmed_up.starts)), np.arange(len(measurement.starts))]),
            "phase": ["warmup"] * len(warmed_up.starts) + ["measured"] * len(measurement.starts),
            "start_ns": unix_ns(starts),
            "latency_ns": ends - starts,
            "samples": sizes,
        }
    )


def prediction_spans(
    parent: Step, evaluation: Evaluation, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> SpanTable:
    """A span for each prediction below its step; none where the trace doesn't go down to them."""
    from mlms.tracing.levels import depth

    if parent.trace_id is None or depth(evaluation.trace.level) < depth("model"):
        starts = ends = starts[:0]
    return predictions(
        parent.trace_id or "",
        parent.span_id,
        f"predict {evaluation.model.name}",
        unix_ns(starts),
        unix_ns(ends),
        {"mlms.query": np.arange(len(starts)), "mlms.batch_size": evaluation.batch_size},
    )


def send_spans(spans: SpanTable, endpoint: str | None, warnings: Warnings) -> ExportReport | None:
    """Send the spans to the endpoint given, else to the environment's; None where there is neither."""
    endpoint = endpoint or endpoint_from_environment()
    if endpoint is None or not len(spans):
        return None
    report = send(spans, endpoint)
    if report.error:
        warnings.add(f"{report.error}; all spans are kept in spans.parquet")
    return report


def build_record(run: Finished) -> dict[str, Any]:
    """The content of ``run.json``."""
    evaluation, measurement, weights = run.evaluation, run.measurement, run.weights
    model, framework, dataset, plan = evaluation.model, evaluation.framework, evaluation.dataset, run.plan
    latencies = measurement.ends - measurement.starts
    return {
        "kind": "run",
        "schema_version": SCHEMA_VERSION,
        "id": run.id,
        "name": evaluation.name,
        "status": "finished",
        "digest": evaluation.digest,
        "mlms_version": mlms.__version__,
        "started_at": _iso(run.started),
        "finished_at": _iso(datetime.now(timezone.utc)),
        "manifest": {
            "name": plan.name,
            "path": str(plan.path) if plan.path else None,
            "sha256": plan.source_digest if plan.path else None,
            "git": git_state(plan.path) if plan.path else None,
        },
        "evaluation": evaluation_data(evaluation),
        "model": {
            "name": model.name,
            "version": model.version,
            "task": model.task,
            "describe": dict(run.model),
            "weights": {
                "origin": weights.origin,
                "location": weights.location,
                "sha256": weights.sha256,
                "seed": model.source.weights.seed,
            },
        },
        "framework": {
            "name": framework.name,
            "version": framework.version,
            "distribution": framework.distribution,
            "installed": run.bound.installed,
            "plugin": str(run.bound.framework_plugin),
            "describe": dict(run.bound.framework.describe()),
        },
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "samples": run.samples,
            "evaluated": len(run.scores.predictions),
            "limit": evaluation.limit,
            "path": str(dataset.path) if dataset.path else None,
        },
        "accuracy": {"reported": run.scores.reason is None, "reason": run.scores.reason},
        "metrics": [dict(metric) for metric in run.scores.metrics],
        "scenario": {
            "type": evaluation.scenario.type,
            "loadgen_version": measurement.loadgen_version,
            "valid": measurement.valid,
            "problems": list(measurement.problems),
            "min_queries": evaluation.scenario.min_queries,
            "min_duration_s": evaluation.scenario.min_duration,
            "max_duration_s": evaluation.scenario.max_duration,
        },
        "latency": {
            **summarize(latencies),
            "samples_per_query": evaluation.batch_size,
            "warmup_queries": len(run.warmed_up.starts),
        },
        "throughput": {
            "value": measurement.throughput,
            "unit": "samples/s",
            "duration_s": measurement.duration_s,
        },
        "steps": [{"name": name, "seconds": seconds} for name, seconds in run.steps.items()],
        "trace": {
            "level": evaluation.trace.level,
            "trace_id": run.trace_id,
            "spans": run.spans,
            "otlp": run.export
            and {"endpoint": run.export.endpoint, "sent": run.export.sent, "error": run.export.error},
        },
        "seeds": {
            "evaluation": evaluation.seed,
            "loadgen_qsl": run.seeds.qsl,
            "loadgen_sample_index": run.seeds.sample_index,
            "loadgen_schedule": run.seeds.schedule,
        },
        "environment": describe_environment([framework.distribution, *PACKAGES]),
        "warnings": list(run.warnings),
        "files": {kind: name for kind, name in FILES.items() if kind != "predictions" or run.scores.predictions},
    }


def write_report(record: Mapping[str, Any], directory: RunDirectory) -> None:
    """Render ``report.html`` from what the directory holds."""
    from mlms.reports.html import render_run

    run = Run(directory.path)
    found = run.predictions if "predictions" in record["files"] else None
    directory.write_report(render_run(record, run.latencies, found, run.spans))


def tell_finished(evaluation: Evaluation, directory: Path, session: Session) -> None:
    """Call the plugins' ``mlms_run_finished``. The run is whole by now, so a plugin that raises only warns."""
    hook = session.components.hook.mlms_run_finished
    for implementation in hook.get_hookimpls():
        try:
            arguments = {"evaluation": evaluation, "record": Run(directory).record, "directory": directory}
            implementation.function(**{name: arguments[name] for name in implementation.argnames})
        except Exception as error:
            session.progress.warn(
                f"plugin '{implementation.plugin_name}' failed in mlms_run_finished: {type(error).__name__}: {error}"
            )


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
