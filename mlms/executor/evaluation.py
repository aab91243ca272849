"""One evaluation, from provisioning to a complete run directory."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter, perf_counter_ns

import numpy as np

from mlms.errors import MlmsError
from mlms.executor import recording
from mlms.executor.accounting import power_sampled, resources
from mlms.executor.binding import bind
from mlms.executor.conditions import Conditions
from mlms.executor.counting import keep_counters, send_metrics
from mlms.executor.harness import harness_cost
from mlms.executor.loading import load_model
from mlms.executor.measuring import batch_of, load_samples, run_scenario
from mlms.executor.observing import observed, recorded_spans
from mlms.executor.outcome import Outcome
from mlms.executor.profiling import profiled
from mlms.executor.provision import provision_weights
from mlms.executor.scoring import score
from mlms.executor.session import Session
from mlms.executor.warming import warm_up
from mlms.manifests.types import Evaluation, Plan
from mlms.profilers.region import MeasuredRegion
from mlms.runs.directory import RunDirectory
from mlms.runs.record import new_run_id
from mlms.runs.run import Run
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Step, Tracing

log = logging.getLogger("mlms")

LOADGEN_LOGS = "loadgen"


class Steps:
    """The steps of one evaluation: each is a span, a line in the log and a time in the record."""

    def __init__(self, tracing: Tracing) -> None:
        self.seconds: dict[str, float] = {}
        self._tracing = tracing

    @contextmanager
    def __call__(self, name: str) -> Iterator[Step]:
        log.info(name)
        start = perf_counter()
        with self._tracing.span(name) as step:
            yield step
        self.seconds[name] = perf_counter() - start


def execute(evaluation: Evaluation, plan: Plan, session: Session, conditions: Conditions) -> Outcome:
    """Run one evaluation. Its run directory is whole; on any error, and on Ctrl-C, there is none."""
    started = datetime.now(timezone.utc)
    run_id = new_run_id(evaluation.name, evaluation.digest, started)
    kept: Path | None = None
    try:
        with RunDirectory.create(session.output, run_id) as directory:
            kept = directory.failed_log
            try:
                _execute(evaluation, plan, session, conditions, directory, started)
            except Exception:
                log.exception("the evaluation failed")
                raise
    except Exception as error:
        return Outcome(
            evaluation,
            error=error,
            traceback=None if isinstance(error, MlmsError) else traceback.format_exc(),
            log=kept if kept is not None and kept.is_file() else None,
            repeat=conditions.repeat,
        )
    recording.tell(
        session.components.hook.mlms_run_finished,
        session.progress.warn,
        evaluation=evaluation,
        record=Run(directory.path).record,
        directory=directory.path,
    )
    return Outcome(evaluation, run=directory.path, repeat=conditions.repeat)


def _execute(
    evaluation: Evaluation,
    plan: Plan,
    session: Session,
    conditions: Conditions,
    directory: RunDirectory,
    started: datetime,
) -> None:
    progress = session.progress
    warnings = recording.Warnings(progress)
    for plugin in session.components.broken:
        warnings.add(f"plugin {plugin} failed to load and was left out (mlms plugins shows why)")
        log.warning("%s", plugin.error)
    bound = bind(evaluation, session.components, session.labels)
    recording.tell(session.components.hook.mlms_run_started, warnings.add, evaluation=evaluation)
    tracing = Tracing(evaluation.trace.level)
    step = Steps(tracing)
    identity = {"mlms.run_id": directory.id, "mlms.digest": evaluation.digest}
    region = MeasuredRegion(evaluation.execution.gc)
    recorder = Recorder()
    with tracing.span(f"evaluate {evaluation.name}", **identity), power_sampled(directory.path) as power:
        with step("provision"):
            weights = provision_weights(evaluation.model, session.fetch, progress)
        with step("load"):
            model = load_model(evaluation, bound, weights, progress)
        with model:
            total = min(len(bound.dataset), evaluation.limit or len(bound.dataset))
            with step("preprocess"):
                loaded = load_samples(evaluation, bound, total, progress)
            some = batch_of(loaded, tuple(range(min(evaluation.batch_size, len(loaded)))))
            where = replace(bound.context, device_uuid=model.describe().get("device_uuid"))
            with (
                profiled(evaluation, session.components, where, recorder, tracing.level),
                observed(evaluation, model, some, tracing, recorder) as deep,
            ):
                with step("warm_up") as warming_up:
                    began = perf_counter_ns()
                    warmed_up = warm_up(evaluation, model, loaded)
                log.info("warm-up: %d predictions, steady: %s", len(warmed_up.starts), warmed_up.steady)
                if warmed_up.steady is False:
                    warnings.add("the predictions were not steady by the end of the warm-up")
                with step("harness"):
                    cost = harness_cost(evaluation, loaded)
                with step("measure") as measuring:
                    predicting = [(warming_up, began), (measuring, perf_counter_ns())]
                    logs, expected_ns = directory.path / LOADGEN_LOGS, warmed_up.expected_ns
                    measurement, seeds = run_scenario(
                        evaluation, model, loaded, total, expected_ns, logs, progress, region
                    )
            cost = cost and cost.beside(float(np.median(measurement.queries.latencies)))
            if cost is not None and cost.warning is not None:
                warnings.keep(cost.warning)
            with step("account"):
                energy = power.energy(region, model.describe().get("device_uuid"))
                answered = next(iter(measurement.outputs), None)
                taken = resources(region, model, loaded, evaluation.batch_size, answered, energy)
            with step("score"):
                scores = score(evaluation, bound, loaded, measurement.outputs, model.predict, total, progress)
            described = model.describe()
            runtime = bound.framework.describe()
        with step("record"):
            directory.write_latencies(recording.latency_frame(evaluation, warmed_up, measurement))
            if scores.predictions:
                directory.write_predictions(scores.predictions)
    for note in recorder.notes:
        warnings.keep(note)
    if deep:
        for table in recorded_spans(recorder, predicting):
            tracing.add(table)
    else:
        tracing.add(recording.prediction_spans(warming_up, evaluation, warmed_up.starts, warmed_up.ends))
        tracing.add(recording.prediction_spans(measuring, evaluation, measurement.starts, measurement.ends))
    spans = tracing.finish()
    directory.write_spans(spans)
    counted = keep_counters(recorder, region, directory, tracing)
    endpoint = session.otlp or evaluation.trace.otlp
    export = recording.send_spans(spans, endpoint, warnings)
    metrics = send_metrics(counted, directory.id, endpoint, tracing, export, warnings)
    record = recording.build_record(
        recording.Finished(
            id=directory.id,
            started=started,
            evaluation=evaluation,
            plan=plan,
            conditions=conditions,
            region=region,
            resources=taken,
            bound=bound,
            weights=weights,
            model=described,
            framework=runtime,
            samples=len(bound.dataset),
            warmed_up=warmed_up,
            harness=cost,
            total=total,
            measurement=measurement,
            seeds=seeds,
            scores=scores,
            steps=step.seconds,
            trace_id=tracing.trace_id,
            spans=len(spans),
            export=export,
            sampled=counted.samples,
            counters=counted.summary,
            metrics=metrics,
            warnings=tuple(warnings.messages),
        )
    )
    directory.write_record(record)
    recording.write_report(record, directory)
