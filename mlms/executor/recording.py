"""What a finished evaluation leaves behind: the record, the frames, the spans, the report.

Polars is imported where frames are made, so that the first inference doesn't wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

import mlms
from mlms.analysis.coincidence import coincidences
from mlms.analysis.latency import summarize
from mlms.analysis.published import judged
from mlms.errors import MlmsError
from mlms.executor.binding import Bound
from mlms.executor.conditions import Conditions
from mlms.executor.harness import HarnessCost
from mlms.executor.provision import WeightsFile
from mlms.executor.scenario_record import DEFINITIONS, describe_scenario, loadgen_figures, percentiles_of
from mlms.executor.scoring import Scores
from mlms.executor.warming import WarmUp
from mlms.manifests.resolver import evaluation_data
from mlms.manifests.types import Evaluation, Plan
from mlms.profilers.region import MeasuredRegion
from mlms.progress import Progress
from mlms.runs.directory import FILES, RunDirectory
from mlms.runs.environment import describe_environment, git_state
from mlms.runs.hygiene import describe_hygiene
from mlms.runs.record import SCHEMA_VERSION
from mlms.runs.run import Run
from mlms.scenarios.loadgen import Measurement, Queries, Seeds
from mlms.tracing.clock import unix_ns
from mlms.tracing.otlp import ExportReport, endpoint_from_environment, send
from mlms.utf8 import storable

if TYPE_CHECKING:
    import polars as pl

    from mlms.tracing.spans import StoredSpans

log = logging.getLogger("mlms")

PACKAGES = ("mlms", "numpy", "mlcommons-loadgen", "opentelemetry-sdk", "torchmetrics", "torchvision", "pillow")
"""Recorded with every run, besides the framework's own distribution."""


class Warnings:
    """Told to the user, to the log, and kept for the record."""

    def __init__(self, progress: Progress) -> None:
        self.messages: list[str] = []
        self._progress = progress

    def add(self, message: str) -> None:
        """Told at once."""
        self._progress.warn(message)
        self.keep(message)

    def keep(self, message: str) -> None:
        """Shown beside the result."""
        self.messages.append(message)
        log.warning(message)


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything that the record is made of. ``samples`` is the dataset's length, ``total`` how many of them were to be
    evaluated; ``model`` and ``framework`` are what predictor and framework say of themselves while the model is loaded.
    """

    id: str
    started: datetime
    evaluation: Evaluation
    plan: Plan
    conditions: Conditions
    region: MeasuredRegion
    resources: Mapping[str, Any]
    bound: Bound
    weights: WeightsFile
    model: Mapping[str, Any]
    framework: Mapping[str, Any]
    samples: int
    total: int
    warmed_up: WarmUp
    harness: HarnessCost | None
    measurement: Measurement
    seeds: Seeds
    scores: Scores
    steps: Mapping[str, float]
    trace_id: str | None
    spans: int
    passes: Sequence[Mapping[str, Any]]
    spilled: int
    export: ExportReport | None
    sampled: int
    """Samples of counters that were kept."""
    counters: Sequence[Mapping[str, Any]]
    metrics: ExportReport | None
    warnings: tuple[str, ...]


def latency_frame(evaluation: Evaluation, warmed_up: WarmUp, measurement: Measurement) -> pl.DataFrame:
    """The rows of ``latencies.parquet``: one a query (``offline``: a prediction), counted within its phase."""
    import polars as pl

    queries, warm = measurement.queries, len(warmed_up.starts)
    return pl.DataFrame(
        {
            "query": np.concatenate([np.arange(warm), np.arange(len(queries.issued))]),
            "phase": ["warmup"] * warm + ["measured"] * len(queries.issued),
            "start_ns": unix_ns(np.concatenate([warmed_up.starts, queries.issued])),
            "latency_ns": np.concatenate([warmed_up.ends - warmed_up.starts, queries.latencies]),
            "samples": np.concatenate([np.full(warm, evaluation.batch_size), queries.samples]),
            "waited_ns": np.concatenate([np.zeros(warm, dtype=np.int64), queries.waited]),
        }
    )


def send_spans(spans: StoredSpans, endpoint: str | None, warnings: Warnings) -> ExportReport | None:
    """Send the spans to the endpoint given, else to the environment's; None where there is neither."""
    if not len(spans) or (endpoint or endpoint_from_environment()) is None:
        return None
    report = send(spans, endpoint)
    if report.error:
        warnings.add(f"{report.error}; all spans are kept in spans.parquet")
    return report


def build_record(run: Finished) -> dict[str, Any]:
    """The content of ``run.json``."""
    evaluation, measurement, weights = run.evaluation, run.measurement, run.weights
    model, framework, dataset, plan = evaluation.model, evaluation.framework, evaluation.dataset, run.plan
    record = {
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
            "describe": dict(run.framework),
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
        "metrics": [judged(metric) for metric in run.scores.metrics],
        "scenario": describe_scenario(evaluation, measurement, run.total),
        "latency": _latency(run) if evaluation.scenario.mode == "performance" else None,
        "throughput": {
            "value": measurement.throughput,
            "unit": "samples/s",
            "duration_s": measurement.duration_s,
        }
        if evaluation.scenario.mode == "performance"
        else None,
        "warmup": {
            "requested": run.warmed_up.requested,
            "queries": len(run.warmed_up.starts),
            "steady": run.warmed_up.steady,
            "method": run.warmed_up.method,
        },
        "harness": run.harness and asdict(run.harness),
        "steps": [{"name": name, "seconds": seconds} for name, seconds in run.steps.items()],
        "trace": {
            "level": evaluation.trace.level,
            "trace_id": run.trace_id,
            "spans": run.spans,
            "levels": list(run.passes),
            "spilled": run.spilled,
            "otlp": run.export and _exported(run.export),
            **({"metrics": _exported(run.metrics)} if run.metrics else {}),
        },
        "seeds": {
            "evaluation": evaluation.seed,
            "loadgen_qsl": run.seeds.qsl,
            "loadgen_sample_index": run.seeds.sample_index,
            "loadgen_schedule": run.seeds.schedule,
        },
        "isolation": evaluation.execution.isolation,
        "repeat": run.conditions.repeat and asdict(run.conditions.repeat),
        "cold_start": _cold_start(run.conditions),
        "resources": dict(run.resources),
        "counters": list(run.counters),
        "environment": describe_environment([framework.distribution, *PACKAGES]) | {"hygiene": _hygiene(run.region)},
        "warnings": list(run.warnings),
        "files": {kind: name for kind, name in FILES.items() if kind not in _absent(run)},
    }
    return storable(record)  # type: ignore[no-any-return]


def _absent(run: Finished) -> Sequence[str]:
    """Files that there are only where there is something in them."""
    there = {"predictions": run.scores.predictions, "counters": run.sampled}
    return [kind for kind, content in there.items() if not content]


def _exported(report: ExportReport) -> dict[str, Any]:
    return {"endpoint": report.endpoint, "sent": report.sent, "error": report.error}


def _latency(run: Finished) -> dict[str, Any]:
    spec, measurement = run.evaluation.scenario, run.measurement
    result = measurement.loadgen
    official, bounds = ({}, {}) if spec.type == "offline" else (result.percentiles, result.early_stopping)
    latency = summarize(measurement.queries.latencies, percentiles_of(spec), official, bounds)
    threshold = (latency["outliers"] or {}).get("threshold_ns")
    latency |= loadgen_figures(spec, result)
    if latency["cv"] is not None and latency["mean"]:
        latency["cv"] = latency["stdev"] / latency["mean"]  # of the mean that is beside it
    return {
        **latency,
        "definition": DEFINITIONS[spec.type],
        "coincidences": _coincidences(run.region, measurement.queries, threshold),
        "samples_per_query": int(measurement.queries.samples[0]),
        "warmup_queries": len(run.warmed_up.starts),
    }


def _hygiene(region: MeasuredRegion) -> dict[str, Any]:
    return {
        **describe_hygiene(),
        "gc": region.collection.describe(),
        "throttled_before": asdict(region.throttled_before),
        "throttled_after": asdict(region.throttled_after),
    }


def _coincidences(region: MeasuredRegion, queries: Queries, threshold_ns: float | None) -> dict[str, Any]:
    """Collections are timed; page faults and throttling are counted before and after only."""
    slow = queries.latencies > (threshold_ns if threshold_ns is not None else np.inf)
    collected = {"gc": np.array(region.collection.pauses, dtype=np.int64).reshape(-1, 2)}
    return {
        **coincidences(queries.issued, queries.done, slow, collected),
        "page_faults": _untimed(region.used.major_faults),
        "throttled": _untimed(region.throttled_after.since(region.throttled_before)),
    }


def _untimed(events: int | None) -> dict[str, int | None] | None:
    if events is None:
        return None
    hit = None if events else 0
    return {"events": events, "queries": hit, "outliers": hit}


def _cold_start(conditions: Conditions) -> dict[str, Any] | None:
    runs = [asdict(start) for start in conditions.cold_starts]
    return {"runs": runs, "median": {key: median(run[key] for run in runs) for key in runs[0]}} if runs else None


def with_report(record: dict[str, Any], directory: RunDirectory, warnings: Warnings) -> dict[str, Any]:
    """Write the report. Where that fails the record goes without, and with a warning: the run itself is whole."""
    try:
        _write_report(record, directory)
    except Exception as error:
        said = error.message if isinstance(error, MlmsError) else f"a bug in mlms: {type(error).__name__}: {error}"
        log.warning("the report failed", exc_info=True)
        warnings.add(f"there is no report.html: {said}")
        files = {kind: name for kind, name in record["files"].items() if kind != "report"}
        return record | {"files": files, "warnings": storable(warnings.messages)}
    return record


def _write_report(record: dict[str, Any], directory: RunDirectory) -> None:
    """Render ``report.html`` from what the directory holds."""
    from mlms.analysis.across_stack.overview import overview_if_any
    from mlms.executor.roof import roof_of
    from mlms.manifests.places import cache_folder
    from mlms.reports.html import render_run

    run = Run(directory.path, record)
    found = run.predictions if "predictions" in record["files"] else None
    seen = overview_if_any(run, roof_of(record, cache_folder()))
    layers = None if seen is None else seen.data
    directory.write_report(render_run(record, run.latencies, found, run.spans, layers, run.counter_table))


def tell(hook: Any, warn: Callable[[str], None], **arguments: Any) -> None:
    """Call every plugin's implementation of a lifecycle hook. They only observe: one that raises gives a warning."""
    for implementation in hook.get_hookimpls():
        try:
            implementation.function(**{name: arguments[name] for name in implementation.argnames})
        except Exception as error:
            log.warning("plugin '%s' failed in %s", implementation.plugin_name, hook.name, exc_info=True)
            warn(f"plugin '{implementation.plugin_name}' failed in {hook.name}: {type(error).__name__}: {error}")


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
