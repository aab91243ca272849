"""Where the time of a run goes, and what its machine can do at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlms.api.planning import load_catalog, load_plugins, no_labels
from mlms.api.reading import as_run
from mlms.hooks.types import Context
from mlms.progress import Progress, Silent
from mlms.runs.run import Run

if TYPE_CHECKING:
    import polars as pl

    from mlms.analysis.across_stack.overview import Overview
    from mlms.executor.profiling import Trial
    from mlms.executor.roof import Measured
    from mlms.hooks.types import Roof


def analyze(
    runs: Run | str | Path | Sequence[Run | str | Path],
    analysis: str = "bounds-by-type",
    *,
    against: Run | str | Path | None = None,
    measure: bool = True,
    progress: Progress | None = None,
    output: str | Path | None = None,
) -> pl.DataFrame:
    """One analysis of where a run's time goes, as ``mlms analyze --list`` names them; docs/analyses.md has the columns.

    ``against`` is the other run of those that compare two. What the run's machine can do at most is taken from the
    cache, or, with ``measure`` and on that machine, measured once.

    Raises:
        InputError: there is no such run or analysis, or the one lacks what the other needs.
        StorageError: a run is damaged or not whole.
    """
    from mlms.analysis.across_stack import catalogue

    several = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    opened = [as_run(run, output) for run in several]
    other = None if against is None else as_run(against, output)
    return catalogue.analyze(analysis, opened, other, lambda run: find_roof(run, measure, progress))


def where_time_goes(
    run: Run | str | Path,
    *,
    top: int = 10,
    measure: bool = True,
    progress: Progress | None = None,
    output: str | Path | None = None,
) -> Overview:
    """The layer types of a run by time, how far each is from its bound, and the layers that lose most.

    Raises:
        InputError: there is no such run, or it has no layers in its trace.
        StorageError: the run is damaged or not whole.
    """
    from mlms.analysis.across_stack.overview import NOT_MEASURED, overview
    from mlms.analysis.across_stack.trace import read_trace
    from mlms.executor.roof import obstacle

    opened = as_run(run, output)
    trace = read_trace(opened)
    trace.need("layer")
    roof = find_roof(opened, measure, progress)
    no_roof = obstacle(opened.record, load_plugins()) if roof is None and measure else None
    return overview(trace, roof, top, no_roof or NOT_MEASURED)


def find_roof(run: Run, measure: bool = True, progress: Progress | None = None) -> Roof | None:
    """What the machine of a run can do at most, for models run as its was; None where that isn't known.

    With ``measure`` it is measured if it can be: on the run's machine, with the run's framework.
    """
    from mlms.executor.roof import roof_of
    from mlms.manifests.places import cache_folder

    if not measure:
        return roof_of(run.record, cache_folder())
    return roof_of(run.record, cache_folder(), load_plugins(), progress or Silent())


def measure_roofs(
    dtypes: Sequence[str] = ("float32", "bfloat16"), *, progress: Progress | None = None
) -> Iterator[Measured]:
    """Measure what this machine can do at most, for each framework that can, and keep it in the cache."""
    from mlms.executor.roof import measure_roofs as measured
    from mlms.manifests.places import cache_folder

    catalog = load_catalog()
    assets = [catalog.framework(f"{entry.name}@{entry.version}") for entry in catalog.entries("framework")]
    yield from measured(assets, dtypes, load_plugins(), cache_folder(), progress or Silent())


def try_profilers() -> Iterator[Trial]:
    """Attach every profiler to this process for a moment, to see what each can observe on this machine."""
    from mlms.executor.profiling import try_profilers as tried

    yield from tried(load_plugins(), Context(labels=no_labels))
