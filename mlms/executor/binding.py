"""From an evaluation's names to live objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mlms.errors import InputError
from mlms.executor.references import check_references, installed_version
from mlms.hooks.blame import blaming
from mlms.hooks.components import Components, Plugin, Registered
from mlms.hooks.types import Context, Dataset, Framework, Metric, Task
from mlms.manifests.types import SYNTHETIC, Evaluation, FrameworkAsset, Step
from mlms.pipeline.stages import Stage
from mlms.progress import Progress

if TYPE_CHECKING:
    from mlms.environments.environment import Environment

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundFramework:
    """A live framework: all that loading a model takes."""

    framework: Framework
    framework_plugin: Plugin
    installed: str
    """The installed version of the framework's distribution."""
    context: Context
    """What the components were told, for those that are made later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound(BoundFramework):
    """The live objects of one evaluation."""

    dataset: Dataset
    preprocess: tuple[Stage, ...]
    postprocess: tuple[Stage, ...]
    task: Task
    metrics: Mapping[str, Metric]


def bind(
    evaluation: Evaluation, components: Components, labels: Callable[[str], tuple[str, ...]], progress: Progress
) -> Bound:
    """Make every component that the evaluation names, and the framework's environment where it has one.

    Raises:
        DocumentError: a name or an option is wrong.
        InputError: the framework isn't installed, or its environment can't be built.
        VersionError: it is, in a version that the model refuses.
        PluginError: a component can't be made; it names the plugin.
    """
    runtime = bind_framework(evaluation, components, labels, progress)
    model, dataset, context = evaluation.model, evaluation.dataset, runtime.context
    _check_level(evaluation, runtime.framework)
    return Bound(
        framework=runtime.framework,
        framework_plugin=runtime.framework_plugin,
        installed=runtime.installed,
        context=context,
        dataset=make(components.datasets.get(dataset.reader.name), dataset.reader.options, context),
        # Synthetic samples are made in the shape of the model's input, so there is nothing to preprocess.
        preprocess=()
        if dataset.name == SYNTHETIC
        else make_stages("preprocess", model.preprocess, components, context),
        postprocess=make_stages("postprocess", model.postprocess, components, context),
        task=make(components.tasks.get(model.task), {}, context),
        metrics={name: make(components.metrics.get(name), {}, context) for name in evaluation.metrics},
    )


def bind_framework(
    evaluation: Evaluation, components: Components, labels: Callable[[str], tuple[str, ...]], progress: Progress
) -> BoundFramework:
    """Make the framework alone, for who only loads the model; all names are checked. Raises what ``bind`` raises."""
    check_references(evaluation, components)
    model, dataset = evaluation.model, evaluation.dataset
    environment = provide_environment(evaluation.framework, progress)
    installed = installed_version(evaluation.framework, model.framework, model.file, environment)
    context = Context(
        labels=labels,
        model=model,
        dataset=dataset,
        seed=evaluation.seed,
        environment=environment,
        answer_timeout=evaluation.framework.environment.answer_timeout,
    )
    framework = components.frameworks.get(evaluation.framework.component)
    return BoundFramework(
        framework=make(framework, evaluation.options, context),
        framework_plugin=framework.plugin,
        installed=installed,
        context=context,
    )


def provide_environment(framework: FrameworkAsset, progress: Progress) -> Environment | None:
    """The virtual environment that the framework's worker runs in; None where it runs in this process."""
    if framework.environment.isolation != "venv":
        return None
    from mlms.environments.store import provide

    return provide(framework.environment, framework.name, progress)


def _check_level(evaluation: Evaluation, runtime: Framework) -> None:
    """Whether the framework has the spans of the level. Counters, which "hardware" adds, are not a framework's."""
    level = evaluation.trace.level
    if level in ("none", *runtime.levels) or (level == "hardware" and "library" in runtime.levels):
        return
    hint = f"it has {', '.join(runtime.levels)}"
    if level == "hardware":
        hint += "; name profilers (--profiler host) to have counters at any of them"
    raise InputError(f"framework '{evaluation.framework.name}' has no trace level '{level}'", hint=hint)


def make(registered: Registered[T], options: Mapping[str, Any], context: Context) -> T:
    """Make one component; a failure that isn't an mlms error is the plugin's and names it."""
    with blaming(f"plugin {registered.plugin} can't make '{registered.component.name}'"):
        return registered.component.make(options, context)


def make_stages(section: str, steps: Sequence[Step], components: Components, context: Context) -> tuple[Stage, ...]:
    """The live processors of a model's ``preprocess`` or ``postprocess``."""
    stages = []
    for position, step in enumerate(steps):
        registered = components.processors.get(step.name)
        processor = make(registered, step.options, context)
        stages.append(Stage(f"{section}[{position}] {step.name}", str(registered.plugin), processor))
    return tuple(stages)
