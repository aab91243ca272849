"""One evaluation, from provisioning to a complete run directory."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from itertools import chain
from time import perf_counter
from typing import Any

from mlms.errors import MlmsError
from mlms.executor import recording
from mlms.executor.accounting import power_sampled, resources
from mlms.executor.binding import bind
from mlms.executor.conditions import Conditions
from mlms.executor.counting import keep_counters, send_metrics
from mlms.executor.harness import harness_cost, median_latency
from mlms.executor.loading import load_model
from mlms.executor.measuring import batch_of, load_samples
from mlms.executor.outcome import Outcome
from mlms.executor.passes import Passes
from mlms.executor.provision import provision_weights
from mlms.executor.scoring import score
from mlms.executor.session import Session
from mlms.manifests.types import Evaluation, Plan
from mlms.runs.directory import RunDirectory
from mlms.runs.record import new_run_id
from mlms.runs.run import Run
from mlms.tracing.session import Step, Tracing

log = logging.getLogger("mlms")

LOADGEN_LOGS = "loadgen"


class Steps:
    """The steps of one evaluation: each is a span, a line in the log and a time in the record."""

    def __init__(self, tracing: Tracing) -> None:
        self.seconds: dict[str, float] = {}
        self._tracing = tracing

    @contextmanager
    def __call__(self, name: str, **attributes: Any) -> Iterator[Step]:
        log.info(name)
        start = perf_counter()
        with self._tracing.span(name, **attributes) as step:
            yield step
        self.seconds[name] = perf_counter() - start


def execute(evaluation: Evaluation, plan: Plan, session: Session, conditions: Conditions) -> Outcome:
    """Run one evaluation. Its run directory is whole. Ctrl-C leaves none, an error what has been measured by then."""
    started = datetime.now(timezone.utc)
    run_id = new_run_id(evaluation.name, evaluation.digest, started)
    directory: RunDirectory | None = None
    try:
        with RunDirectory.create(session.output, run_id) as directory:
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
            log=None if directory is None else directory.kept_log,
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
    bound = bind(evaluation, session.components, session.labels, progress)
    recording.tell(session.components.hook.mlms_run_started, warnings.add, evaluation=evaluation)
    tracing = Tracing(evaluation.trace.level)
    step = Steps(tracing)
    identity = {"mlms.run_id": directory.id, "mlms.digest": evaluation.digest}
    with directory.scratch() as folder:
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
                about = model.describe()
                where = replace(
                    bound.context,
                    device=about.get("device"),
                    device_uuid=about.get("device_uuid"),
                    worker_pid=about.get("worker_pid"),
                )
                passes = Passes(
                    evaluation, model, loaded, total, some, tracing, folder, session.components, where, progress
                )
                logs = directory.path / LOADGEN_LOGS
                shallowest, *deeper = passes.levels()
                first = passes.run(shallowest, logs, step)
                warmed_up, measurement, region = first.warmed_up, first.measurement, first.region
                # At once, so that a failure of what follows doesn't lose it.
                directory.write_latencies(recording.latency_frame(evaluation, warmed_up, measurement))
                if warmed_up.steady is False:
                    warnings.add("the predictions were not steady by the end of the warm-up")
                with step("harness"):
                    cost = harness_cost(evaluation, loaded, folder, warnings.keep)
                cost = cost and cost.beside(median_latency(evaluation.scenario, measurement))
                if cost is not None and cost.warning is not None:
                    warnings.keep(cost.warning)
                with step("account"):
                    energy = power.energy(region, model.describe().get("device_uuid"))
                    answered = next(iter(measurement.outputs), None)
                    taken = resources(region, model, loaded, evaluation.batch_size, answered, energy)
                with step("score"):
                    scores = score(evaluation, bound, loaded, measurement.outputs, model.predict, total, progress)
                if scores.doubt is not None:
                    warnings.add(scores.doubt)
                others = []
                for level in deeper:
                    with step(f"profile_{level}"):
                        others.append(passes.run(level, logs / level, tracing.span))
                described = model.describe()
                runtime = bound.framework.describe()
            with step("record"):
                if scores.predictions:
                    directory.write_predictions(scores.predictions)
        measured = [first, *others]
        for note in dict.fromkeys(note for one in measured for note in one.recorder.notes):
            warnings.keep(note)
        tables = chain([tracing.finish()], *(one.spans(evaluation) for one in measured))
        spans = directory.write_spans(tables, tracing.resource, folder)
        sampled = next((one for one in measured if one.recorder.counters), first)
        counted = keep_counters(sampled.recorder, sampled.region, directory, tracing)
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
                seeds=first.seeds,
                scores=scores,
                steps=step.seconds,
                trace_id=tracing.trace_id,
                spans=len(spans),
                passes=[one.figures(first) for one in measured],
                spilled=sum(one.recorder.spilled for one in measured),
                export=export,
                sampled=counted.samples,
                counters=counted.summary,
                metrics=metrics,
                warnings=tuple(warnings.messages),
            )
        )
    directory.write_record(recording.with_report(record, directory, warnings))
