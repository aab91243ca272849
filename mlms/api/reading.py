"""Finished runs: opened, compared, exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlms.api.planning import load_plugins, no_labels
from mlms.hooks.types import Context
from mlms.runs.directory import root_from
from mlms.runs.run import Run
from mlms.runs.store import find, scan
from mlms.storage import reading

if TYPE_CHECKING:
    from mlms.analysis import comparison


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs side by side, the baseline first. ``runs`` are those of each subject: several where they are repeats."""

    result: comparison.Comparison
    runs: tuple[tuple[Run, ...], ...]

    @property
    def subjects(self) -> tuple[comparison.Subject, ...]:
        return self.result.subjects

    @property
    def contrasts(self) -> tuple[comparison.Contrast, ...]:
        """Every other subject against the baseline: effects with intervals and verdicts, and what differs."""
        return self.result.contrasts

    @property
    def data(self) -> dict[str, Any]:
        """The whole comparison as plain values."""
        return self.result.data

    @property
    def html(self) -> str:
        """A page with the tables, the distributions over one another, and accuracy against latency."""
        from mlms.reports.comparison_html import render_comparison

        return render_comparison(self.data, [_measured_latencies(group) for group in self.runs])

    def __rich__(self) -> Any:
        from mlms.reports.comparison_table import comparison_table

        return comparison_table(self.data)

    def _repr_html_(self) -> str:
        from mlms.reports.comparison_html import fragment

        return fragment(self.data)


def _measured_latencies(runs: Sequence[Run]) -> Any:
    """All measured latencies of a subject (ns); None where it has none."""
    import numpy as np

    frames = [run.latencies for run in runs if run.record.get("latency")]
    return (
        np.concatenate([f.filter(f["phase"] == "measured")["latency_ns"].to_numpy() for f in frames])
        if frames
        else None
    )


def open_run(reference: str | Path, *, output: str | Path | None = None) -> Run:
    """A finished run by path, id, unique prefix, name (its newest), or ``@last``.

    Raises:
        InputError: there is no such run, or what is there isn't a whole one or can't be read.
    """
    path = Path(reference)
    with reading(path):
        found = path.is_dir()
    if found:
        return Run(path)
    return find(root_from(Path(output) if output is not None else None), str(reference))


def export(
    runs: Sequence[Run | str | Path],
    format: str,
    *,
    options: Sequence[str] = (),
    target: str | Path | None = None,
    output: str | Path | None = None,
) -> str:
    """Finished runs in the format of other tools, as ``mlms list exporters`` names it.

    ``options`` are ``key.sub=value`` strings, as for ``mlms export --set``. ``target`` is the file or folder to write;
    without it a text format is returned. ``output`` is the folder that runs are looked up in, as for ``open_run``.

    Raises:
        MlmsError: there is no such run or format, or the one doesn't fit the other.
    """
    from mlms.executor.exporting import export as export_runs
    from mlms.executor.exporting import make_exporter
    from mlms.manifests.overrides import apply, parse

    chosen = apply({}, [parse(option) for option in options])
    exporter = make_exporter(format, chosen, load_plugins(), Context(labels=no_labels))
    opened = [run if isinstance(run, Run) else open_run(run, output=output) for run in runs]
    return export_runs(opened, format, exporter, Path(target) if target is not None else None)


def compare(
    runs: Sequence[Run | str | Path],
    *,
    margin: float | None = None,
    force: bool = False,
    output: str | Path | None = None,
) -> Comparison:
    """Compare runs with the first of them: each is a Run or what ``open_run`` takes.

    A run that is one of several repeats stands for all of them, as far as they lie beside it, unless only repeats of
    one evaluation are given. ``margin`` is the ratio's distance from 1 (0.01 by default) up to which a change is not
    called one. ``force`` compares different tasks and datasets too.

    Raises:
        InputError: fewer than two runs, or runs that can't be compared.
        StorageError: a run is damaged or not whole.
    """
    from mlms.analysis import comparison
    from mlms.analysis.effects import MARGIN

    opened = [run if isinstance(run, Run) else open_run(run, output=output) for run in runs]
    groups = _with_repeats(opened)
    found = comparison.compare(groups, margin=MARGIN if margin is None else margin, force=force)
    return Comparison(found, tuple(groups))


def as_run(run: Run | str | Path, output: str | Path | None) -> Run:
    return run if isinstance(run, Run) else open_run(run, output=output)


def _with_repeats(opened: Sequence[Run]) -> list[tuple[Run, ...]]:
    """Each run with the repeats it was made with; a set that is named twice counts once."""
    from mlms.analysis.comparison import repeat_set

    groups: dict[tuple[Path, ...], tuple[Run, ...]] = {}
    for run in opened:
        beside = {run.id: run}
        if run.record.get("repeat"):
            beside |= {other.id: other for other in scan(run.path.absolute().parent)[0]}
        ids = repeat_set(run.record, [other.record for other in beside.values()])
        group = tuple(beside[identity] for identity in ids)
        groups.setdefault(tuple(sorted(other.path.absolute() for other in group)), group)
    return list(groups.values()) if len(groups) > 1 else [(run,) for run in opened]
