"""What a user can do, and the one place where the parts are wired together.

import mlms

results = mlms.evaluate("manifests/digits.yaml")
results[0].metrics           # {"top1": 98.9, "top5": 100.0}
results[0].latencies         # a polars data frame
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import mlms
from mlms.errors import DocumentError, EvaluationsFailed, InputError, Problem
from mlms.executor.references import (
    check_references,
    dataset_problems,
    framework_problems,
    installed_version,
    model_problems,
)
from mlms.executor.session import Session
from mlms.executor.sweep import Outcome, exit_code, sweep
from mlms.hooks.components import Components, Plugin, load_components
from mlms.hooks.types import Context
from mlms.manifests.assets import Origin, dataset_asset, framework_asset, model_asset
from mlms.manifests.catalog import Catalog, search_path
from mlms.manifests.fetch import FetchSettings
from mlms.manifests.reader import Document, parse_document, read_document
from mlms.manifests.resolver import resolve
from mlms.manifests.schema import check
from mlms.manifests.types import Plan
from mlms.progress import Progress, Silent
from mlms.runs.directory import check_writable, root_from
from mlms.runs.run import Run
from mlms.runs.store import find, finished_digests

if TYPE_CHECKING:
    from mlms.executor.prediction import FilePrediction

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
        return exit_code([outcome.exit_code for outcome in self.outcomes])

    def raise_for_failures(self) -> Results:
        """Raises EvaluationsFailed naming every failed evaluation; otherwise returns itself."""
        if self.failures:
            lines = [f"{outcome.evaluation.name}: {outcome.error}" for outcome in self.failures]
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


@cache
def load_plugins() -> Components:
    """Everything that the installed plugins offer, gathered once a process."""
    from mlms.builtins import plugin

    return load_components([(Plugin("builtins", "mlms", mlms.__version__), plugin)])


def load_catalog(assets: Sequence[str | Path] = ()) -> Catalog:
    """The assets on the search path: shipped, plugins', ``./assets``, ``$MLMS_ASSETS``, then ``assets``."""
    return Catalog(search_path(extra=[Path(folder) for folder in assets], plugins=load_plugins().asset_folders))


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
    catalog = load_catalog(assets)
    # References are checked by each evaluation itself, so that one bad one doesn't stop the others.
    resolved = _resolve(manifest, catalog, overrides, check=False)
    root = root_from(settings.output)
    check_writable(root)
    session = Session(
        components=load_plugins(),
        labels=catalog.labels,
        output=root,
        fetch=FetchSettings.from_environment(mirror=settings.mirror, offline=settings.offline),
        progress=progress if progress is not None else Silent(),
        otlp=settings.otlp,
    )
    yield from sweep(resolved, session, finished_digests(root) if settings.resume else {})


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


def open_run(reference: str | Path, *, output: str | Path | None = None) -> Run:
    """A finished run by path, id, unique prefix, name (its newest), or ``@last``.

    Raises:
        InputError: there is no such run, or what is there isn't a whole one.
    """
    path = Path(reference)
    if path.is_dir():
        return Run(path)
    return find(root_from(Path(output) if output is not None else None), str(reference))


def check_asset(file: str | Path, *, assets: Sequence[str | Path] = ()) -> str:
    """Check one asset file: schema, then every name in it. Returns its kind and name.

    Raises:
        MlmsError: whatever is wrong, at its place.
    """
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


def _no_labels(name: str) -> tuple[str, ...]:
    raise InputError(f"label list '{name}' can't be looked up here")


def _resolve(source: ManifestSource, catalog: Catalog, overrides: Sequence[str], check: bool) -> Plan:
    resolved = resolve(_document(source), catalog, task_metrics=task_metrics, overrides=overrides)
    if check:
        for evaluation in resolved.evaluations:
            check_references(evaluation, load_plugins())
    return resolved


def _document(source: ManifestSource) -> Document:
    if isinstance(source, Mapping):
        import json

        return parse_document(json.dumps(source, ensure_ascii=False), "the manifest")
    return read_document(Path(source))
