"""Manifests, and the assets and components that they name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import mlms
from mlms.errors import DocumentError, InputError, Place, Problem, problems_of
from mlms.hooks.components import Components, Plugin, load_asset_folders, load_components
from mlms.hooks.types import Context
from mlms.manifests.assets import Origin, dataset_asset, framework_asset, model_asset
from mlms.manifests.catalog import Catalog, search_path
from mlms.manifests.reader import Document, parse_document, read_document
from mlms.manifests.resolver import resolve
from mlms.manifests.schema import check
from mlms.manifests.types import ModelAsset, Plan

ManifestSource = str | Path | Mapping[str, Any]
"""A manifest's file, or the manifest itself as a mapping, which needs neither ``kind`` nor ``name``."""


asset_folders = cache(load_asset_folders)


@cache
def load_plugins() -> Components:
    """Everything that the installed plugins offer, gathered once a process."""
    from mlms.builtins import plugin

    return load_components([(Plugin("builtins", "mlms", mlms.__version__), plugin)])


def load_catalog(assets: Sequence[str | Path] = ()) -> Catalog:
    """The assets on the search path: shipped, plugins', ``./assets``, ``$MLMS_ASSETS``, then ``assets``."""
    return Catalog(search_path(extra=[Path(folder) for folder in assets], plugins=asset_folders()))


def plan(
    manifest: ManifestSource, *, overrides: Sequence[str] = (), assets: Sequence[str | Path] = (), check: bool = True
) -> Plan:
    """Resolve a manifest to the evaluations it asks for, every default filled in.

    ``overrides`` are ``key.sub=value`` strings, as for ``mlms eval --set``. ``check`` also holds every name and option
    against the installed plugins, and looks for the files that the models name.

    Raises:
        MlmsError: whatever is wrong, at its place.
    """
    return resolve_manifest(manifest, load_catalog(assets), overrides, check)


def check_asset(file: str | Path, *, assets: Sequence[str | Path] = ()) -> str:
    """Check one asset file: schema, then every name and every local file in it. Returns its kind and name.

    Raises:
        DocumentError: with everything that is wrong, each at its place.
    """
    from mlms.executor.references import dataset_problems, framework_problems

    document = read_document(Path(file))
    check(document)
    kind, name = document.data["kind"], document.data["name"]
    components, catalog = load_plugins(), load_catalog(assets)
    path = Path(file).absolute()
    origin = Origin(path.parent, None, path)
    problems: Iterable[Problem]
    if kind == "model":
        problems = _model_problems(model_asset(document.data, origin), document, catalog, components)
    elif kind == "framework":
        asset = framework_asset(document.data, origin)
        problems = framework_problems(asset, asset.options, components)
    else:
        problems = dataset_problems(dataset_asset(document.data, origin, catalog.labels), components)
    if found := list(problems):
        raise DocumentError(found)
    return f"{kind} {name}"


def _model_problems(
    model: ModelAsset, document: Document, catalog: Catalog, components: Components
) -> Iterator[Problem]:
    from mlms.executor.provision import local_problems
    from mlms.executor.references import check_installed, factory_problems, framework_problems, model_problems

    yield from model_problems(model, components)
    try:
        framework = catalog.framework(model.framework.name)
        yield from factory_problems(model, framework)
        yield from framework_problems(framework, {**framework.options, **model.options}, components)
        check_installed(framework, model)
    except InputError as error:
        yield from problems_of(error, document.place(("framework",)))
    for pointer, wrong in local_problems(model):
        yield Problem(document.place(pointer), ".".join(pointer), wrong.message, wrong.hint)


def task_metrics(task: str) -> tuple[str, ...]:
    """The metrics that a task computes by default."""
    registered = load_plugins().tasks.get(task)
    return registered.component.make({}, Context(labels=no_labels)).metrics


def no_labels(name: str) -> tuple[str, ...]:
    raise InputError(f"label list '{name}' can't be looked up here")


def resolve_manifest(source: ManifestSource, catalog: Catalog, overrides: Sequence[str], check: bool) -> Plan:
    document = _document(source)
    resolved = resolve(document, catalog, task_metrics=task_metrics, overrides=overrides)
    if check and (problems := dict.fromkeys(_plan_problems(resolved, document.place()))):
        raise DocumentError(list(problems))  # many evaluations have the same, which is said once
    return resolved


def _plan_problems(resolved: Plan, place: Place) -> Iterator[Problem]:
    from mlms.executor.provision import local_problems
    from mlms.executor.references import check_references

    place = replace(place, line=None, column=None)
    for evaluation in resolved.evaluations:
        try:
            check_references(evaluation, load_plugins())
        except InputError as error:
            yield from problems_of(error, place)
        for _, wrong in local_problems(evaluation.model):
            yield Problem(place, "", wrong.message, wrong.hint)


def _document(source: ManifestSource) -> Document:
    if isinstance(source, Mapping):
        # Whoever hands over a mapping means a manifest, and nobody looks for it by its name.
        data = {"kind": "manifest", "name": "manifest", **source}
        document = parse_document(json.dumps(data, ensure_ascii=False, default=_plain), "the manifest")
        return replace(document, text=None)  # a line and column of text that nobody has seen help nobody
    return read_document(Path(source))


def _plain(value: object) -> str:
    """A path as text; other objects have no place in a manifest."""
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    raise InputError(
        f"the manifest: {value!r} is a {type(value).__name__}, which a manifest can't hold",
        hint="give text, numbers, booleans, None, lists and mappings, as YAML has them",
    )
