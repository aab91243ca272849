"""Manifests run: evaluations, the search for the largest load, agreement of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from mlms.api.planning import ManifestSource, load_catalog, load_plugins, plan, resolve_manifest
from mlms.errors import DataError, EvaluationsFailed
from mlms.manifests.fetch import FetchSettings
from mlms.progress import Progress, Silent
from mlms.runs.directory import check_writable, root_from
from mlms.runs.partial import remove_abandoned
from mlms.runs.run import Run
from mlms.runs.store import finished_runs

if TYPE_CHECKING:
    from mlms.executor.agreeing import Agreed
    from mlms.executor.outcome import Outcome
    from mlms.executor.peak import Peak, Probe
    from mlms.executor.session import Session


@dataclass(frozen=True, slots=True, repr=False)
class Results(Sequence[Run]):
    """The runs of one or more manifests, in order; ``failures`` are the evaluations that gave none."""

    outcomes: tuple[Outcome, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(Run(outcome.run) for outcome in self.outcomes if outcome.run is not None)

    @property
    def failures(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)

    @property
    def exit_code(self) -> int:
        """0 when all evaluations ran; 2 when every one was refused as bad input; else 1."""
        from mlms.executor.outcome import exit_code

        return exit_code([outcome.exit_code for outcome in self.outcomes])

    def raise_for_failures(self) -> Results:
        """Raises EvaluationsFailed naming every failed evaluation; otherwise returns itself."""
        if self.failures:
            lines = [f"{outcome.name}: {outcome.error}" for outcome in self.failures]
            raise EvaluationsFailed("\n".join(lines))
        return self

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | Sequence[Run]:
        return self.runs[index]

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        return f"<Results: {len(self.runs)} runs, {len(self.failures)} failures>"

    def __rich__(self) -> Any:
        from mlms.reports.terminal import results_table

        return results_table([run.record for run in self.runs])

    def _repr_html_(self) -> str:
        return "".join(run._repr_html_() for run in self.runs)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run, as opposed to what. ``output`` is the folder for run directories (else $MLMS_RUNS, ./runs)."""

    output: Path | None = None
    otlp: str | None = None
    """An OTLP gRPC endpoint for the spans, instead of the manifest's and the environment's."""
    mirror: str | None = None
    """A base URL that replaces scheme and host of every download."""
    offline: bool = False
    resume: bool = False
    """Take evaluations that already have a finished run from there."""


def evaluate(
    manifest: ManifestSource,
    *,
    overrides: Sequence[str] = (),
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Results:
    """Run a manifest and return its runs.

    A failing evaluation doesn't stop the others: look at ``Results.failures``, or call ``raise_for_failures()``.

    Raises:
        MlmsError: the manifest can't be planned, or the output can't be written.
    """
    outcomes = run_evaluations(manifest, overrides=overrides, assets=assets, settings=settings, progress=progress)
    return Results(tuple(outcomes))


def run_evaluations(
    manifest: ManifestSource,
    *,
    overrides: Sequence[str] = (),
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """``evaluate``, giving each outcome as soon as there is one."""
    from mlms.executor.sweep import sweep

    catalog = load_catalog(assets)
    # References are checked by each evaluation itself, so that one bad one doesn't stop the others.
    resolved = resolve_manifest(manifest, catalog, overrides, check=False)
    root = root_from(settings.output)
    check_writable(root)
    remove_abandoned(root)
    session = open_session(tuple(assets), settings, progress if progress is not None else Silent())
    yield from sweep(resolved, session, finished_runs(root) if settings.resume else {})


def find_peak(
    manifest: ManifestSource,
    *,
    overrides: Sequence[str] = (),
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    precision: float | None = None,
    progress: Progress | None = None,
    tell: Callable[[Probe], None] | None = None,
) -> Peak:
    """Search the largest valid load of a manifest's one evaluation: ``server``'s rate, ``multi_stream``'s samples.

    Every load tried is an ordinary run that is kept; one that has a finished run already is taken from there. ``tell``
    is called with each. ``precision`` is relative.

    Raises:
        MlmsError: the manifest has no peak to find, or a probe failed.
    """
    from mlms.executor.peak import PRECISION, Peak, largest_valid, search_of

    search = search_of(plan(manifest, overrides=overrides, assets=assets))
    probes: list[Probe] = []

    def valid(value: float) -> bool:
        load = [*overrides, f"scenario.{search.parameter}={value}"]
        probe = _probe(
            value,
            evaluate(
                manifest, overrides=load, assets=assets, settings=replace(settings, resume=True), progress=progress
            ),
        )
        probes.append(probe)
        if tell is not None:
            tell(probe)
        return probe.valid

    precision = PRECISION if precision is None else precision
    whole = search.parameter == "samples_per_query"
    found = largest_valid(valid, search.start, precision=precision, whole=whole, least=search.least)
    return Peak(search.parameter, found, precision, search.least, search.below, tuple(probes))


def _probe(value: float, results: Results) -> Probe:
    """What the runs of one load (several where the manifest repeats it) say of it: valid if all are."""
    from mlms.executor.peak import Probe

    for failure in results.failures:
        assert failure.error is not None
        if isinstance(failure.error, DataError):  # more samples a query than there are: too much load, and no more
            return Probe(value, False, (failure.error.message,), None)
        raise failure.error
    scenarios = [run.record["scenario"] for run in results]
    last = results[-1].record
    percentile = last["evaluation"]["scenario"]["target_latency_percentile"]
    seen = [entry["value"] for entry in last["latency"]["percentiles"] if entry["percentile"] == percentile]
    return Probe(
        value=value,
        valid=all(scenario["valid"] for scenario in scenarios),
        problems=tuple(problem for scenario in scenarios for problem in scenario["problems"]),
        run=results[-1].path,
        resumed=all(outcome.resumed for outcome in results.outcomes),
        latency_ns=seen[0] if seen else None,
        achieved=last["scenario"]["achieved_rate"] and last["scenario"]["achieved_rate"]["achieved"],
    )


def agree(
    manifest: ManifestSource,
    *,
    reference: str | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    overrides: Sequence[str] = (),
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Agreed:
    """What the models of a manifest answer, sample by sample, beside one of them: ``reference``, or the first.

    An element agrees if |a - b| <= atol + rtol |b|, 1e-4 and 1e-3 by default. A model that fails is in the result.

    Raises:
        MlmsError: the manifest can't be planned, there is nothing to compare, or the reference failed.
    """
    from mlms.analysis.agreement import ATOL, RTOL
    from mlms.executor.agreeing import agree as hold_against

    resolved = resolve_manifest(manifest, load_catalog(assets), overrides, check=False)
    session = open_session(tuple(assets), settings, progress or Silent())
    return hold_against(resolved, session, reference, ATOL if atol is None else atol, RTOL if rtol is None else rtol)


def open_session(assets: tuple[str | Path, ...], settings: Settings, progress: Progress) -> Session:
    from mlms.executor.session import Session

    return Session(
        components=load_plugins(),
        labels=load_catalog(assets).labels,
        output=root_from(settings.output),
        fetch=FetchSettings.from_environment(mirror=settings.mirror, offline=settings.offline),
        progress=progress,
        reopen=partial(open_session, assets, settings),
        otlp=settings.otlp,
    )
