"""Contexts and components for the tests of readers, processors, tasks and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from mlms.errors import UnknownNameError
from mlms.hooks import Component, Context
from mlms.manifests.types import DatasetAsset, ModelAsset, Requirement, Source, Step, TensorSpec, Weights

LABEL_LISTS = {"abc": ("a", "b", "c")}


def look_labels_up(name: str) -> tuple[str, ...]:
    if name not in LABEL_LISTS:
        raise UnknownNameError(f"there is no label list '{name}'")
    return LABEL_LISTS[name]


def context(
    path: Path | None = None,
    labels: tuple[str, ...] | None = None,
    inputs: Iterable[TensorSpec] = (),
    seed: int = 0,
) -> Context:
    """A context with a dataset at ``path`` and a model that takes ``inputs``."""
    dataset = DatasetAsset("data", "1.0.0", None, task=None, reader=Step("any"), path=path, labels=labels)
    model = ModelAsset(
        "model",
        "1.0.0",
        None,
        task="image_classification",
        framework=Requirement("pytorch"),
        source=Source("a:b", {}, Weights(seed=0)),
        input=tuple(inputs),
    )
    return Context(look_labels_up, model, dataset, seed)


def accepts(component: Component[Any], options: Mapping[str, Any]) -> bool:
    """Whether the component's schema takes these options."""
    Draft202012Validator.check_schema(component.options)
    return bool(Draft202012Validator(component.options).is_valid(options))


def make(components: Iterable[Component[Any]], name: str, options: Mapping[str, Any], where: Context) -> Any:
    """The component of that name, made with options that its own schema takes."""
    component = next(component for component in components if component.name == name)
    assert accepts(component, options)
    return component.make(options, where)
