"""Whether every name in an evaluation is answered by a plugin, and every option fits."""

from __future__ import annotations

import importlib.metadata
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import packaging.requirements
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from mlms.errors import DocumentError, InputError, Place, Problem, UnknownNameError, VersionError
from mlms.hooks.components import Components, Registry
from mlms.manifests.factories import module_of, not_allowed, not_there
from mlms.manifests.reader import place_of
from mlms.manifests.schema import problems_against
from mlms.manifests.types import DatasetAsset, Evaluation, FrameworkAsset, ModelAsset, Requirement, Step

if TYPE_CHECKING:
    from mlms.environments.environment import Environment


def check_references(evaluation: Evaluation, components: Components) -> None:
    """Check all names and options of an evaluation, and the version of a framework that is installed where mlms runs.

    Raises:
        DocumentError: with every problem found, each at its place in the asset.
        InputError: the framework isn't installed.
        VersionError: it is, in a version that the model refuses.
    """
    problems = [
        *model_problems(evaluation.model, components),
        *factory_problems(evaluation.model, evaluation.framework),
        *framework_problems(evaluation.framework, evaluation.options, components),
        *dataset_problems(evaluation.dataset, components),
    ]
    for metric in evaluation.metrics:
        problems += _name(components.metrics, metric, None, ("metrics",))
    for profiler in evaluation.profilers:
        problems += _component(components.profilers, profiler, None, ("profilers", profiler.name))
    if problems:
        raise DocumentError(problems)
    check_installed(evaluation.framework, evaluation.model)


def check_installed(framework: FrameworkAsset, model: ModelAsset) -> None:
    """Whether what a framework and its model require is installed, for a framework that runs where mlms does.

    Raises:
        InputError: the framework isn't installed.
        VersionError: a package isn't there, or in a version that doesn't fit.
    """
    if framework.environment.isolation != "in_process":
        return
    installed_version(framework, model.framework, model.file)
    for text in framework.environment.requirements:
        wanted = packaging.requirements.Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        found = _version(wanted.name, None)
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            raise VersionError(
                f"framework '{framework.name}' requires {text}, but {found or 'none'} is installed where mlms runs",
                place=place_of(framework.file, ("environment", "requirements")) if framework.file else None,
                hint=f"pip install {shlex.quote(text)}",
            )


def model_problems(model: ModelAsset, components: Components) -> Iterator[Problem]:
    """What a model asset names that no plugin answers to."""
    yield from _name(components.tasks, model.task, model.file, ("task",))
    yield from _steps(components.processors, model.preprocess, model.file, "preprocess")
    yield from _steps(components.processors, model.postprocess, model.file, "postprocess")


def factory_problems(model: ModelAsset, framework: FrameworkAsset) -> Iterator[Problem]:
    """Whether the framework asset allows a model's factory and its package is there; nothing of it is imported.

    Where a framework runs in an environment of its own, what is there isn't looked for.
    """
    factory, pointer = model.source.factory, ("source", "factory")
    if factory is None:
        return
    here = framework.environment.isolation == "in_process"
    for error in (
        not_allowed(factory, module_of(factory), framework.packages),
        not_there(factory) if here else None,
    ):
        if error is not None:
            place = place_of(model.file, pointer) if model.file else Place("the manifest")
            yield Problem(place, ".".join(pointer), error.message, error.hint)


def framework_problems(
    framework: FrameworkAsset, options: Mapping[str, Any], components: Components
) -> Iterator[Problem]:
    """Whether a plugin drives the framework and takes ``options`` (its own, the model's and the manifest's)."""
    unknown = list(_name(components.frameworks, framework.component, framework.file, ("component",)))
    yield from unknown
    if not unknown:
        schema = components.frameworks.get(framework.component).component.options
        yield from problems_against(schema, dict(options), path=None, pointer=("options",))
    for position, text in enumerate(framework.environment.requirements):
        try:
            packaging.requirements.Requirement(text)
        except packaging.requirements.InvalidRequirement as error:
            pointer = ("environment", "requirements", position)
            place = place_of(framework.file, pointer) if framework.file else Place("the framework asset")
            reason = str(error).partition("\n")[0]
            yield Problem(place, f"environment.requirements[{position}]", f"'{text}' is no requirement: {reason}",
                          "write it like 'numpy>=1.24,<2'")  # fmt: skip


def dataset_problems(dataset: DatasetAsset, components: Components) -> Iterator[Problem]:
    """Whether a plugin reads the dataset."""
    if dataset.task is not None:
        yield from _name(components.tasks, dataset.task, dataset.file, ("task",))
    yield from _component(components.datasets, dataset.reader, dataset.file, ("reader", dataset.reader.name))


def installed_version(
    framework: FrameworkAsset, wanted: Requirement, path: Path | None, environment: Environment | None = None
) -> str:
    """The version of the framework's distribution where it runs, once it fits the model's wish."""
    place = place_of(path, ("framework",)) if path else None
    where = f" in the environment {environment.name}" if environment is not None else ""
    installed = _version(framework.distribution, environment)
    if installed is None:
        needed = framework.environment.requirements or (framework.distribution,)
        raise InputError(
            f"framework '{framework.name}' needs the package '{framework.distribution}', which is not installed{where}",
            place=place,
            hint=f"pip install {' '.join(map(shlex.quote, needed))}"
            if environment is None
            else f"name {framework.distribution} in the framework asset's requirements",
        )
    try:
        fits = SpecifierSet(wanted.version).contains(installed, prereleases=True)
    except InvalidSpecifier:
        raise InputError(
            f"'{wanted.version}' is not a version specifier", place=place, hint='write it like ">=2.0,<3"'
        ) from None
    if not fits:
        raise VersionError(
            f"the model wants {framework.distribution}{wanted.version}, but {installed} is installed{where}",
            place=place,
            hint=f"pip install '{framework.distribution}{wanted.version}'"
            if environment is None
            else "change the framework asset's requirements",
        )
    return installed


def _version(distribution: str, environment: Environment | None) -> str | None:
    if environment is not None:
        # A wheel may spell its own name as it likes: tensorflow-cpu's calls it tensorflow_cpu.
        packages = {canonicalize_name(name): version for name, version in environment.packages.items()}
        return packages.get(canonicalize_name(distribution))
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _steps(registry: Registry[Any], steps: Sequence[Step], path: Path | None, section: str) -> Iterator[Problem]:
    for position, step in enumerate(steps):
        yield from _component(registry, step, path, (section, position, step.name))


def _component(
    registry: Registry[Any], step: Step, path: Path | None, pointer: tuple[str | int, ...]
) -> Iterator[Problem]:
    unknown = list(_name(registry, step.name, path, pointer))
    yield from unknown
    if not unknown:
        options: Mapping[str, Any] = registry.get(step.name).component.options
        yield from problems_against(options, dict(step.options), path=path, pointer=pointer)


def _name(registry: Registry[Any], name: str, path: Path | None, pointer: tuple[str | int, ...]) -> Iterator[Problem]:
    try:
        registry.get(name)
    except UnknownNameError as error:
        place = place_of(path, pointer) if path else Place("the manifest")
        yield Problem(place, ".".join(map(str, pointer)), error.message, error.hint)
