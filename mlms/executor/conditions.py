"""Under which conditions an evaluation runs, beyond what it says itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Repeat:
    """Which of the runs of an evaluation: ``index`` counts from 1, ``group`` is the digest that they share."""

    index: int
    of: int
    group: str

    def __str__(self) -> str:
        return f"repeat {self.index} of {self.of}"


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds in a fresh process: importing the framework, loading the model, and the first prediction."""

    import_s: float
    load_s: float
    first_inference_s: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """``cold_starts`` are those measured for this evaluation beforehand."""

    repeat: Repeat | None = None
    cold_starts: tuple[ColdStart, ...] = ()
