"""Run a plan's evaluations one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlms.errors import EXIT_BAD_INPUT, EXIT_FAILED, MlmsError
from mlms.executor.evaluation import execute
from mlms.executor.session import Session
from mlms.manifests.types import Evaluation, Plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one evaluation: a run directory, or an error.

    ``resumed`` marks a run that was finished before. ``traceback`` is set for an error that is a bug in mlms.
    """

    evaluation: Evaluation
    run: Path | None = None
    resumed: bool = False
    error: Exception | None = None
    traceback: str | None = None

    @property
    def exit_code(self) -> int:
        if self.error is None:
            return 0
        return self.error.exit_code if isinstance(self.error, MlmsError) else EXIT_FAILED


def sweep(plan: Plan, session: Session, finished: Mapping[str, Path]) -> Iterator[Outcome]:
    """Run every evaluation; one that fails is reported and the next one runs.

    ``finished`` maps the digests of evaluations that need not run again to their run directories.
    """
    for evaluation in plan.evaluations:
        if evaluation.digest in finished:
            yield Outcome(evaluation, run=finished[evaluation.digest], resumed=True)
            continue
        try:
            yield Outcome(evaluation, run=execute(evaluation, plan, session))
        except MlmsError as error:
            yield Outcome(evaluation, error=error)
        except Exception as error:
            yield Outcome(evaluation, error=error, traceback=traceback.format_exc())


def exit_code(codes: list[int]) -> int:
    """0 when all went well; 2 when nothing ran because all input was bad; else 1."""
    if all(code == 0 for code in codes):
        return 0
    return EXIT_BAD_INPUT if all(code == EXIT_BAD_INPUT for code in codes) else EXIT_FAILED
