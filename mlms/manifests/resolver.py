"""A manifest into a plan: references looked up, defaults filled in, the matrix spread out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from mlms.errors import DocumentError, InputError, Place, Problem
from mlms.manifests import overrides as changes
from mlms.manifests.assets import Origin, dataset_asset, model_asset, step, weights
from mlms.manifests.catalog import Catalog
from mlms.manifests.digest import digest_of, evaluation_data, same_bytes
from mlms.manifests.durations import seconds
from mlms.manifests.names import suggestion
from mlms.manifests.reader import Document
from mlms.manifests.scenarios import prediction_size, scenario_spec
from mlms.manifests.schema import problems_in
from mlms.manifests.types import (
    DEFAULT_VERSION,
    SYNTHETIC,
    DatasetAsset,
    Evaluation,
    ExecutionSpec,
    ModelAsset,
    Plan,
    Requirement,
    ScenarioSpec,
    Step,
    TraceSpec,
)
from mlms.tracing.levels import depth

__all__ = ["evaluation_data", "resolve"]

TaskMetrics = Callable[[str], tuple[str, ...]]
Pointer = tuple[str | int, ...]
Combination = dict[str, tuple[Any, Pointer]]
"""Axis -> its value in one evaluation and where that stands."""


def resolve(document: Document, catalog: Catalog, *, task_metrics: TaskMetrics, overrides: Sequence[str] = ()) -> Plan:
    """Resolve a manifest with ``--set`` overrides. ``task_metrics`` gives a task's metrics.

    The matrix is spread in the order it is written, the last key varying fastest, the models before all unless the
    matrix has them. A key's value in the matrix replaces the manifest's own, but ``scenario`` and ``options`` are laid
    over it.

    Raises:
        DocumentError: the manifest is not valid, or its parts don't fit each other.
        UnknownNameError, VersionError: it names something that isn't there.
    """
    set_by = [changes.parse(text) for text in overrides]

    def place(pointer: Pointer, key: bool = False) -> Place:
        override: changes.Override
        for override in reversed(set_by):
            if pointer[: len(override.pointer)] == override.pointer:
                return override.place
        return document.place(pointer, key)

    data = changes.apply(document.data, set_by)
    if problems := problems_in(data, place, "manifest"):
        raise DocumentError(problems)
    base = document.path.absolute().parent if document.path else Path.cwd()
    return _Resolver(data, place, Origin(base), catalog, task_metrics).plan(document)


@dataclass(frozen=True, slots=True)
class _Resolver:
    data: Mapping[str, Any]
    place: Callable[[Pointer], Place]
    origin: Origin
    catalog: Catalog
    task_metrics: TaskMetrics

    def plan(self, document: Document) -> Plan:
        combinations = list(self.combinations())
        versions = {(model.name, model.version) for model, _ in (item["model"] for item in combinations)}
        twice = {name for name, _ in versions if sum(name == other for other, _ in versions) > 1}
        evaluations = tuple(self.evaluation(combination, twice) for combination in combinations)
        interleave = self.data.get("interleave", False)
        return Plan(self.data["name"], document.path, document.digest, evaluations, interleave)

    def combinations(self) -> Iterator[Combination]:
        matrix = self.data.get("matrix", {})
        axes: dict[str, list[tuple[Any, Pointer]]] = {
            name: [(value, ("matrix", name, i)) for i, value in enumerate(values)] for name, values in matrix.items()
        }
        given = [key for key in ("models", "model") if key in self.data]
        if len(given) + ("model" in matrix) != 1:
            hint = "give one of 'models', 'model' and 'matrix.model'"
            if given or "model" in matrix:
                self.fail((given[-1],), "the models are given more than once", hint)
            self.fail((), "the manifest names no model", hint)
        if given == ["models"]:
            axes = {"model": [(value, ("models", i)) for i, value in enumerate(self.data["models"])], **axes}
        elif given:
            axes = {"model": [(self.data["model"], ("model",))], **axes}
        axes["model"] = self.models(axes["model"])
        for values in itertools.product(*axes.values()):
            yield dict(zip(axes, values, strict=True))

    def models(self, entries: Sequence[tuple[Any, Pointer]]) -> list[tuple[ModelAsset, Pointer]]:
        """Every model that the entries name, once each, in their order."""
        found: dict[tuple[str, str], tuple[ModelAsset, Pointer]] = {}
        for entry, pointer in entries:
            for model in self.models_of(entry, pointer):
                known = found.setdefault((model.name, model.version), (model, pointer))
                if known[0] != model:
                    self.fail(pointer, f"another model here is called '{model.name}' too", "give it another name")
        return list(found.values())

    def models_of(self, entry: Any, pointer: Pointer) -> list[ModelAsset]:
        if isinstance(entry, str):
            with self.at(pointer):
                return [self.catalog.model(entry)]
        if "task" in entry:
            return [model_asset(entry, self.origin)]
        every = self.catalog.entries("model")
        names = dict.fromkeys(item.name for item in every if set(entry["tags"]) <= set(item.tags))
        if not names:
            tags = {tag for item in every for tag in item.tags}
            hint = suggestion(next((t for t in entry["tags"] if t not in tags), ""), tags, "`mlms list models`")
            self.fail((*pointer, "tags"), f"no model carries {' and '.join(map(repr, entry['tags']))}", hint)
        return [self.catalog.model(name) for name in names]

    def evaluation(self, combination: Combination, twice: set[str]) -> Evaluation:
        def value(key: str, default: Any = None) -> Any:
            return combination[key][0] if key in combination else self.data.get(key, default)

        def pointer(key: str) -> Pointer:
            return combination[key][1] if key in combination else (key,)

        model, model_at = combination["model"]
        name = self.label(model, combination, twice)
        if (requested := value("framework")) is not None:
            required = model.framework.version if requested == model.framework.name else ""
            url = model.framework.url if requested == model.framework.name else None
            model = replace(model, framework=Requirement(requested, required, url))
        with self.at(pointer("framework") if requested is not None else model_at):
            framework = self.catalog.framework(model.framework.name)
        if (other := value("weights")) is not None:
            source = replace(model.source, weights=weights(other, self.origin, *pointer("weights")))
            # What was published for the asset's weights says nothing of others.
            published = model.published if same_bytes(model.source.weights, source.weights) else ()
            model = replace(model, source=source, published=published)
        dataset, limit, data_path = self.dataset(value("dataset"), pointer("dataset"))
        if dataset.task not in (None, model.task):
            fitting = [e.name for e in self.catalog.entries("dataset") if e.task in (None, model.task)]
            message = f"dataset '{dataset.name}' is for {dataset.task}, but model '{model.name}' does {model.task}"
            self.fail(pointer("dataset"), message, f"datasets that fit: {', '.join([*fitting, SYNTHETIC])}")
        with self.at(model_at):
            metrics = tuple(self.data["metrics"]) if "metrics" in self.data else tuple(self.task_metrics(model.task))
        trace = self.data.get("trace", {})
        trace = {"level": trace} if isinstance(trace, str) else trace
        if trace.get("leveled") and depth(trace.get("level", "model")) <= depth("model"):
            message = "leveled profiling goes from the level 'model' down to trace.level, which is 'model' if not given"
            self.fail(("trace", "leveled"), message, "name a deeper level, such as layer")
        preparation = self.data.get("preprocessing", {})
        manifest_options = {**self.data.get("options", {}), **value("options", {})}
        served_at = {} if model.framework.url is None else {"url": model.framework.url}
        scenario = self.scenario(combination)
        evaluation = Evaluation(
            name=name,
            model=model,
            framework=framework,
            dataset=dataset,
            scenario=scenario,
            metrics=metrics,
            batch_size=prediction_size(scenario, value("batch_size"), pointer("batch_size"), self.fail),
            device=value("device", "auto"),
            dtype=value("dtype", "float32"),
            threads=value("threads"),
            warmup=self.data.get("warmup", 10),
            workers=preparation.get("workers", 2),
            memory_mib=preparation.get("memory_mib", 1024),
            trace=TraceSpec(trace.get("level", "model"), trace.get("otlp"), trace.get("leveled", False)),
            seed=value("seed", 0),
            options={**framework.options, **served_at, **model.options, **manifest_options},
            limit=self.data["limit"] if self.data.get("limit") is not None else limit,
            digest="",
            execution=self.execution(),
            profilers=self.profilers(),
        )
        return replace(evaluation, digest=digest_of(evaluation, data_path))

    def label(self, model: ModelAsset, combination: Combination, twice: set[str]) -> str:
        """``model`` or ``model[batch_size=8,device=cpu]``; with its version where names alone don't tell them apart."""
        name = f"{model.name}@{model.version}" if model.name in twice else model.name
        values = [f"{key}={_short(value)}" for key, (value, _) in combination.items() if key != "model"]
        return f"{name}[{','.join(values)}]" if values else name

    def dataset(self, given: Any, pointer: Pointer) -> tuple[DatasetAsset, int | None, str | None]:
        """The dataset, its limit, and its path as the manifest words it."""
        if isinstance(given, str):
            given = {"name": given}
        worded = given.get("path")
        if "reader" in given:
            with self.at((*pointer, "labels")):
                return dataset_asset(given, self.origin, self.catalog.labels), None, worded
        if given["name"] == SYNTHETIC:
            if worded is not None:
                self.fail((*pointer, "path"), f"dataset '{SYNTHETIC}' is made up and has no path", "leave it out")
            asset = DatasetAsset(SYNTHETIC, DEFAULT_VERSION, None, task=None, reader=step(SYNTHETIC), path=None)
            return asset, given.get("limit"), None
        with self.at(pointer):
            asset = self.catalog.dataset(given["name"])
        if worded is not None:
            asset = replace(asset, path=self.origin.resolve(worded, *pointer, "path"))
        return asset, given.get("limit"), worded

    def scenario(self, combination: Combination) -> ScenarioSpec:
        laid_over, pointer = combination.get("scenario", ({}, ("scenario",)))
        profile = self.data.get("profile", "default")
        return scenario_spec(self.data.get("scenario", {}), laid_over, pointer, profile, self.fail)

    def profilers(self) -> tuple[Step, ...]:
        named = tuple(map(step, self.data.get("profilers", ())))
        names = [profiler.name for profiler in named]
        for position, name in enumerate(names):
            if name in names[:position]:
                self.fail(("profilers", position), f"profiler '{name}' is named twice", "name it once")
        return named

    def execution(self) -> ExecutionSpec:
        timeout, repeat = self.data.get("timeout"), self.data.get("repeat", 1)
        needing = [key for key, given in (("timeout", timeout is not None), ("repeat", repeat > 1)) if given]
        isolation = self.data.get("isolation", "process" if needing else "none")
        if isolation == "none" and needing:
            message = f"{' and '.join(repr(key) for key in needing)} can't go with 'isolation: none'"
            self.fail(("isolation",), message, "set isolation to process")
        return ExecutionSpec(
            isolation=isolation,
            timeout=None if timeout is None else seconds(timeout),
            repeat=repeat,
            cold_start=self.data.get("cold_start", 0),
            gc=self.data.get("gc", "disabled"),
        )

    @contextmanager
    def at(self, pointer: Pointer) -> Iterator[None]:
        """Give an error from the catalog the place in the manifest that asked."""
        try:
            yield
        except InputError as error:
            if error.place is None and not isinstance(error, DocumentError):
                error.place = self.place(pointer)
            raise

    def fail(self, pointer: Pointer, message: str, hint: str | None = None) -> NoReturn:
        from mlms.manifests.yaml12 import dotted

        raise DocumentError([Problem(self.place(pointer), dotted(pointer), message, hint)])


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)
