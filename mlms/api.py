"""What a user can do, and the one place where the parts are wired together.

The executor is imported by what runs it, so that listing assets needs neither it nor NumPy.

import mlms

results = mlms.evaluate("manifests/digits.yaml")
results[0].metrics           # {"top1": 98.9, "top5": 100.0}
results[0].latencies         # a polars data frame
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import mlms
from mlms.errors import DataError, DocumentError, EvaluationsFailed, InputError, Problem
from mlms.hooks.components import Components, Plugin, load_asset_folders, load_components
from mlms.hooks.types import Context
from mlms.manifests.assets import Origin, dataset_asset, framework_asset, model_asset
from mlms.manifests.catalog import Catalog, search_path
from mlms.manifests.fetch import FetchSettings
from mlms.manifests.reader import Document, parse_document, read_document
from mlms.manifests.resolver import resolve
from mlms.manifests.schema import check
from mlms.manifests.types import Evaluation, Plan
from mlms.progress import Progress, Silent
from mlms.runs.directory import check_writable, root_from
from mlms.runs.partial import remove_abandoned
from mlms.runs.run import Run
from mlms.runs.store import find, finished_runs, scan

if TYPE_CHECKING:
    import polars as pl

    from mlms.agents.server import Endpoint
    from mlms.analysis import comparison
    from mlms.analysis.across_stack.overview import Overview
    from mlms.executor.agreeing import Agreed
    from mlms.executor.outcome import Outcome
    from mlms.executor.peak import Peak, Probe
    from mlms.executor.prediction import FilePrediction
    from mlms.executor.profiling import Trial
    from mlms.executor.roof import Measured
    from mlms.executor.session import Session
    from mlms.hooks.types import Roof

ManifestSource = str | Path | Mapping[str, Any]
"""A manifest's file, or the manifest itself as a mapping."""


@dataclass(frozen=True, slots=True)
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

    def __rich__(self) -> Any:
        from mlms.reports.terminal import results_table

        return results_table([run.record for run in self.runs])

    def _repr_html_(self) -> str:
        return "".join(run._repr_html_() for run in self.runs)


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


_asset_folders = cache(load_asset_folders)


@cache
def load_plugins() -> Components:
    """Everything that the installed plugins offer, gathered once a process."""
    from mlms.builtins import plugin

    return load_components([(Plugin("builtins", "mlms", mlms.__version__), plugin)])


def load_catalog(assets: Sequence[str | Path] = ()) -> Catalog:
    """The assets on the search path: shipped, plugins', ``./assets``, ``$MLMS_ASSETS``, then ``assets``."""
    return Catalog(search_path(extra=[Path(folder) for folder in assets], plugins=_asset_folders()))


def plan(
    manifest: ManifestSource, *, overrides: Sequence[str] = (), assets: Sequence[str | Path] = (), check: bool = True
) -> Plan:
    """Resolve a manifest to the evaluations it asks for, every default filled in.

    ``overrides`` are ``key.sub=value`` strings, as for ``mlms eval --set``. ``check`` also holds every name and option
    against the installed plugins.

    Raises:
        MlmsError: whatever is wrong, at its place.
    """
    return _resolve(manifest, load_catalog(assets), overrides, check)


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
    resolved = _resolve(manifest, catalog, overrides, check=False)
    root = root_from(settings.output)
    check_writable(root)
    remove_abandoned(root)
    session = _session(tuple(assets), settings, progress if progress is not None else Silent())
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
    from mlms.executor.peak import PRECISION, Peak, largest_valid, searched_parameter

    parameter, start = searched_parameter(plan(manifest, overrides=overrides, assets=assets))
    probes: list[Probe] = []

    def valid(value: float) -> bool:
        load = [*overrides, f"scenario.{parameter}={value}"]
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
    found = largest_valid(valid, start, precision=precision, whole=parameter == "samples_per_query")
    return Peak(parameter, found, precision, tuple(probes))


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

    resolved = _resolve(manifest, load_catalog(assets), overrides, check=False)
    session = _session(tuple(assets), settings, progress or Silent())
    return hold_against(resolved, session, reference, ATOL if atol is None else atol, RTOL if rtol is None else rtol)


def predict(
    model: str,
    files: Sequence[str | Path],
    *,
    device: str = "auto",
    weights: str | None = None,
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Iterator[FilePrediction]:
    """What a model says about files, one at a time."""
    from mlms.executor.prediction import predict_files

    manifest = {"kind": "manifest", "schema_version": 1, "name": "predict", "model": model, "dataset": "synthetic"}
    manifest["device"] = device
    if weights is not None:
        manifest["weights"] = weights
    catalog = load_catalog(assets)
    (evaluation,) = _resolve(manifest, catalog, (), check=True).evaluations
    fetch = FetchSettings.from_environment(mirror=settings.mirror, offline=settings.offline)
    paths = [Path(file) for file in files]
    yield from predict_files(evaluation, paths, load_plugins(), catalog.labels, fetch, progress or Silent())


@contextmanager
def serve(
    models: Sequence[str],
    endpoint: Endpoint,
    *,
    every: bool = False,
    device: str = "cpu",
    disclose: bool = False,
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Iterator[str]:
    """An agent that answers callers of the Open Inference Protocol for as long as the context is open; gives its URL.

    ``models`` are loaded, and callers may unload and load these and no others. With ``every``, instead, callers may
    load any model of the catalog, and none is at first. ``log`` takes what callers aren't told of failures.

    Raises:
        MlmsError: it can't listen at the endpoint, or a model can't be loaded.
    """
    from mlms.agents.hosting import Host
    from mlms.agents.server import serving

    if bool(models) == every:
        raise InputError(
            "there is no model to serve" if not every else "the models are given twice",
            hint="name models, or let callers load any of the catalog with --all",
        )
    catalog = load_catalog(assets)
    listed = list(dict.fromkeys(entry.name for entry in catalog.entries("model"))) if every else list(models)

    def find_model(reference: str) -> Evaluation:
        manifest = {"kind": "manifest", "schema_version": 1, "name": "agent", "model": reference, "device": device}
        (evaluation,) = _resolve(manifest | {"dataset": "synthetic"}, catalog, (), check=False).evaluations
        return evaluation

    fetch = FetchSettings.from_environment(mirror=settings.mirror, offline=settings.offline)
    host = Host(
        listed,
        find_model,
        load_plugins(),
        catalog.labels,
        fetch,
        progress or Silent(),
        at_start=not every,
        disclose=disclose,
        log=log,
    )
    with serving(host, endpoint) as url:
        yield url


def open_run(reference: str | Path, *, output: str | Path | None = None) -> Run:
    """A finished run by path, id, unique prefix, name (its newest), or ``@last``.

    Raises:
        InputError: there is no such run, or what is there isn't a whole one.
    """
    path = Path(reference)
    if path.is_dir():
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
    exporter = make_exporter(format, chosen, load_plugins(), Context(labels=_no_labels))
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
    opened = [_opened(run, output) for run in several]
    other = None if against is None else _opened(against, output)
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
    from mlms.analysis.across_stack.overview import overview
    from mlms.analysis.across_stack.trace import read_trace

    opened = _opened(run, output)
    trace = read_trace(opened)
    trace.need("layer")
    return overview(trace, find_roof(opened, measure, progress), top)


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

    yield from tried(load_plugins(), Context(labels=_no_labels))


def _opened(run: Run | str | Path, output: str | Path | None) -> Run:
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


def check_asset(file: str | Path, *, assets: Sequence[str | Path] = ()) -> str:
    """Check one asset file: schema, then every name in it. Returns its kind and name.

    Raises:
        MlmsError: whatever is wrong, at its place.
    """
    from mlms.executor.references import dataset_problems, framework_problems, installed_version, model_problems

    document = read_document(Path(file))
    check(document)
    kind, name = document.data["kind"], document.data["name"]
    components, catalog = load_plugins(), load_catalog(assets)
    path = Path(file).absolute()
    origin = Origin(path.parent, None, path)
    problems: list[Problem] = []
    if kind == "model":
        model = model_asset(document.data, origin)
        framework = catalog.framework(model.framework.name)
        options = {**framework.options, **model.options}
        problems += model_problems(model, components)
        problems += framework_problems(framework, options, components)
        installed_version(framework, model.framework, path)
    elif kind == "framework":
        asset = framework_asset(document.data, origin)
        problems += framework_problems(asset, asset.options, components)
    else:
        problems += dataset_problems(dataset_asset(document.data, origin, catalog.labels), components)
    if problems:
        raise DocumentError(problems)
    return f"{kind} {name}"


def task_metrics(task: str) -> tuple[str, ...]:
    """The metrics that a task computes by default."""
    registered = load_plugins().tasks.get(task)
    return registered.component.make({}, Context(labels=_no_labels)).metrics


def _session(assets: tuple[str | Path, ...], settings: Settings, progress: Progress) -> Session:
    from mlms.executor.session import Session

    return Session(
        components=load_plugins(),
        labels=load_catalog(assets).labels,
        output=root_from(settings.output),
        fetch=FetchSettings.from_environment(mirror=settings.mirror, offline=settings.offline),
        progress=progress,
        reopen=partial(_session, assets, settings),
        otlp=settings.otlp,
    )


def _no_labels(name: str) -> tuple[str, ...]:
    raise InputError(f"label list '{name}' can't be looked up here")


def _resolve(source: ManifestSource, catalog: Catalog, overrides: Sequence[str], check: bool) -> Plan:
    resolved = resolve(_document(source), catalog, task_metrics=task_metrics, overrides=overrides)
    if check:
        from mlms.executor.references import check_references

        for evaluation in resolved.evaluations:
            check_references(evaluation, load_plugins())
    return resolved


def _document(source: ManifestSource) -> Document:
    if isinstance(source, Mapping):
        import json

        document = parse_document(json.dumps(source, ensure_ascii=False), "the manifest")
        return replace(document, text=None)  # a line and column of text that nobody has seen help nobody
    return read_document(Path(source))
