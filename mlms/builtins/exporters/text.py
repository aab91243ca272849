"""An exporter that is one function from runs to a document, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlms.errors import InputError
from mlms.hooks import Run


@dataclass(frozen=True, slots=True)
class TextExporter:
    """Renders the runs given as one document."""

    render: Callable[[Sequence[Run]], str]
    writes: Literal["text"] = "text"

    def export(self, runs: Sequence[Run], target: Path | None) -> str:
        return self.render(runs)


def by_level(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each trace level, in the order given: their times don't compare, so they share no table."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(section(run, "trace").get("level", "none"), []).append(run)
    return groups


def section(run: Run, name: str) -> Mapping[str, Any]:
    """A mapping of the record, empty where a failed run has none."""
    found: Mapping[str, Any] = run.record.get(name) or {}
    return found


def scored(run: Run) -> list[Mapping[str, Any]]:
    """The metrics that have a value.

    Raises:
        InputError: there are none, and why.
    """
    found = [metric for metric in run.record["metrics"] if metric["value"] is not None]
    if not found:
        reason = section(run, "accuracy").get("reason") or "no metric has a value"
        raise InputError(
            f"run {run.id} reports no accuracy: {reason}", hint="this format holds nothing else; --format json does"
        )
    return found
