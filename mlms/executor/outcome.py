"""What became of one evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlms.errors import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK, MlmsError
from mlms.executor.conditions import Repeat
from mlms.manifests.types import Evaluation


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run directory, or an error.

    ``resumed`` marks a run that was finished before. ``traceback`` is set for an error that is a bug in mlms. ``log``
    is the kept log of an evaluation that failed; bad input leaves none, its message says it all.
    """

    evaluation: Evaluation
    run: Path | None = None
    resumed: bool = False
    error: Exception | None = None
    traceback: str | None = None
    log: Path | None = None
    repeat: Repeat | None = None

    @property
    def name(self) -> str:
        """The evaluation's name, and which of its repeats this is."""
        return f"{self.evaluation.name}, {self.repeat}" if self.repeat else self.evaluation.name

    @property
    def exit_code(self) -> int:
        if self.error is None:
            return EXIT_OK
        return self.error.exit_code if isinstance(self.error, MlmsError) else EXIT_FAILED


def exit_code(codes: list[int]) -> int:
    """0 when all went well; 2 when nothing ran because all input was bad; else 1."""
    if all(code == EXIT_OK for code in codes):
        return EXIT_OK
    return EXIT_BAD_INPUT if all(code == EXIT_BAD_INPUT for code in codes) else EXIT_FAILED
