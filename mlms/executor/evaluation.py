"""One evaluation, from provisioning to a complete run directory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

from mlms.executor import recording
from mlms.executor.binding import bind
from mlms.executor.loading import load_model
from mlms.executor.measuring import load_samples, run_scenario, warm_up
from mlms.executor.provision import provision_weights
from mlms.executor.scoring import score
from mlms.executor.session import Session
from mlms.manifests.types import Evaluation, Plan
from mlms.runs.directory import RunDirectory
from mlms.runs.record import new_run_id
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


def execute(evaluation: Evaluation, plan: Plan, session: Session) -> Path:
    """Run one evaluation and return its run directory, which is whole: on any error there is none.

    Raises:
        MlmsError: whatever went wrong, named.
    """
    started = datetime.now(timezone.utc)
    run_id = new_run_id(evaluation.name, evaluation.digest, started)
    with RunDirectory.create(session.output, run_id) as directory:
        try:
            _execute(evaluation, plan, session, directory, started)
        except Exception:
            log.exception("the evaluation failed")
            raise
    recording.tell_finished(evaluation, directory.path, session)
    return directory.path


def _execute(evaluation: Evaluation, plan: Plan, session: Session, directory: RunDirectory, started: datetime) -> None:
    progress = session.progress
    warnings = recording.Warnings(progress)
    for plugin in session.components.broken:
        warnings.add(f"plugin {plugin} failed to load and was left out (mlms plugins shows why)")
        log.warning("%s", plugin.error)
    bound = bind(evaluation, session.components, session.labels)
    session.components.hook.mlms_run_started(evaluation=evaluation)
    tracing = Tracing(evaluation.trace.level)
    step = Steps(tracing)
    with tracing.span(f"evaluate {evaluation.name}", mlms__run_id=directory.id, mlms__digest=evaluation.digest):
        with step("provision"):
            weights = provision_weights(evaluation.model, session.fetch, progress)
        with step("load"):
            model = load_model(evaluation, bound, weights, progress)
        with model:
            total = min(len(bound.dataset), evaluation.limit or len(bound.dataset))
            with step("preprocess"):
                loaded = load_samples(evaluation, bound, total, progress)
            with step("warm_up") as warming_up:
                warmed_up = warm_up(evaluation, model, loaded)
            with step("measure") as measuring:
                measurement, seeds = run_scenario(
                    evaluation, model, loaded, warmed_up, directory.path / LOADGEN_LOGS, progress
                )
            with step("score"):
                scores = score(evaluation, bound, loaded, measurement.outputs, model.predict, total, progress)
            described = model.predictor.describe()
        with step("record"):
            directory.write_latencies(recording.latency_frame(evaluation, warmed_up, measurement))
            if scores.predictions:
                directory.write_predictions(scores.predictions)
    tracing.add(recording.prediction_spans(warming_up, evaluation, warmed_up.starts, warmed_up.ends))
    tracing.add(recording.prediction_spans(measuring, evaluation, measurement.starts, measurement.ends))
    spans = tracing.finish()
    directory.write_spans(spans)
    export = recording.send_spans(spans, session.otlp or evaluation.trace.otlp, warnings)
    record = recording.build_record(
        recording.Finished(
            id=directory.id,
            started=started,
            evaluation=evaluation,
            plan=plan,
            bound=bound,
            weights=weights,
            model=described,
            samples=len(bound.dataset),
            warmed_up=warmed_up,
            measurement=measurement,
            seeds=seeds,
            scores=scores,
            steps=step.seconds,
            trace_id=tracing.trace_id,
            spans=len(spans),
            export=export,
            warnings=tuple(warnings.messages),
        )
    )
    directory.write_record(record)
    recording.write_report(record, directory)
