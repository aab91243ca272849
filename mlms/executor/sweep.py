"""Run a plan's evaluations one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from mlms.errors import MlmsError
from mlms.executor.child import portable
from mlms.executor.cold import cold_start
from mlms.executor.conditions import ColdStart, Conditions, Repeat
from mlms.executor.evaluation import execute
from mlms.executor.isolation import in_fresh_process
from mlms.executor.outcome import Outcome
from mlms.executor.session import Session
from mlms.manifests.types import Evaluation, Plan
from mlms.runs.partial import remove_abandoned


def sweep(plan: Plan, session: Session, finished: Mapping[tuple[str, int | None], Path]) -> Iterator[Outcome]:
    """Run every evaluation as often as it asks for; one that fails is reported and the next one runs.

    ``finished`` are the run directories of what need not run again, by digest and number of the repeat.
    """
    cold: dict[str, tuple[ColdStart, ...]] = {}
    for evaluation, repeat in turns(plan):
        known = finished.get((evaluation.digest, repeat.index if repeat else None))
        if known is not None:
            yield Outcome(evaluation, run=known, resumed=True, repeat=repeat)
            continue
        try:
            if evaluation.digest not in cold:
                cold[evaluation.digest] = _cold_starts(evaluation, session)
            yield _run(evaluation, plan, session, Conditions(repeat, cold[evaluation.digest]))
        except MlmsError as error:
            log = _failed_log(evaluation, session)
            yield Outcome(evaluation, error=error, log=log, repeat=repeat)
        except Exception as error:
            yield Outcome(evaluation, error=error, traceback=traceback.format_exc(), repeat=repeat)
        except KeyboardInterrupt:
            remove_abandoned(session.output, keep_any=False)
            raise


def turns(plan: Plan) -> Iterator[tuple[Evaluation, Repeat | None]]:
    """What runs in which order: A A B B, or interleaved A B A B."""
    if not plan.interleave:
        for evaluation in plan.evaluations:
            for index in range(1, evaluation.execution.repeat + 1):
                yield evaluation, _repeat(evaluation, index)
        return
    rounds = max((evaluation.execution.repeat for evaluation in plan.evaluations), default=0)
    for index, evaluation in product(range(1, rounds + 1), plan.evaluations):
        if index <= evaluation.execution.repeat:
            yield evaluation, _repeat(evaluation, index)


def _repeat(evaluation: Evaluation, index: int) -> Repeat | None:
    of = evaluation.execution.repeat
    return Repeat(index, of, evaluation.digest) if of > 1 else None


def _cold_starts(evaluation: Evaluation, session: Session) -> tuple[ColdStart, ...]:
    start, timeout = partial(cold_start, evaluation), evaluation.execution.timeout
    count = evaluation.execution.cold_start
    return tuple(in_fresh_process(start, session, evaluation.name, timeout) for _ in range(count))


def _run(evaluation: Evaluation, plan: Plan, session: Session, conditions: Conditions) -> Outcome:
    if evaluation.execution.isolation == "none":
        return execute(evaluation, plan, session, conditions)
    work = partial(_execute_in_child, evaluation, plan, conditions)
    return in_fresh_process(work, session, evaluation.name, evaluation.execution.timeout)


def _execute_in_child(evaluation: Evaluation, plan: Plan, conditions: Conditions, session: Session) -> Outcome:
    outcome = execute(evaluation, plan, session, conditions)
    return replace(outcome, error=outcome.error and portable(outcome.error))


def _failed_log(evaluation: Evaluation, session: Session) -> Path | None:
    """The log that a process left when it died."""
    logs = remove_abandoned(session.output)
    return next((log for log in logs if evaluation.digest[:8] in str(log.relative_to(session.output))), None)
