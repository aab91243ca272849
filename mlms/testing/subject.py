"""The model that a framework is tested with, brought to life as an evaluation does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlms import api
from mlms.executor.binding import Bound, bind
from mlms.executor.loading import LoadedModel, load_model
from mlms.executor.provision import WeightsFile, provision_weights
from mlms.hooks import Batch
from mlms.manifests.catalog import Catalog
from mlms.manifests.fetch import FetchSettings
from mlms.manifests.types import Evaluation
from mlms.pipeline.preparation import prepare, stack
from mlms.progress import Silent

SAMPLES = 8


@dataclass(frozen=True, slots=True)
class Subject:
    """An evaluation with its live components and its weights, not loaded yet."""

    evaluation: Evaluation
    bound: Bound
    weights: WeightsFile
    catalog: Catalog

    def load(self, weights: Path | None = None, **changes: Any) -> LoadedModel:
        """Load the model; ``changes`` are fields of the evaluation, ``weights`` another file."""
        file = self.weights if weights is None else replace(self.weights, path=weights)
        return load_model(replace(self.evaluation, **changes), self.bound, file, Silent())

    def samples(self) -> Batch:
        """``SAMPLES`` of the dataset, ready for the model; fewer where it has fewer."""
        count = min(SAMPLES, len(self.bound.dataset))
        stages, inputs = self.bound.preprocess, self.evaluation.model.input
        return stack([prepare(self.bound.dataset, index, stages, inputs) for index in range(count)])


def subject(
    framework: str,
    model: str,
    dataset: str | None,
    device: str,
    dims: Mapping[str, Sequence[int]],
    assets: Sequence[str | Path],
) -> Subject:
    """What an evaluation of ``model`` has; ``dataset`` None is synthetic data, whose free dimensions ``dims`` gives."""
    catalog = api.load_catalog(assets)
    asset = catalog.model(model)
    written_out = {"name": "samples", "task": asset.task, "reader": {"synthetic": {"dims": dims}}}
    manifest = {
        "kind": "manifest",
        "name": "contract",
        "model": model,
        "framework": framework,
        "dataset": dataset if dataset is not None else written_out if dims else "synthetic",
        "device": device,
    }
    (evaluation,) = api.plan(manifest, assets=assets).evaluations
    bound = bind(evaluation, api.load_plugins(), catalog.labels, Silent())
    if dataset is None:
        bound = replace(bound, preprocess=())
    weights = provision_weights(evaluation.model, FetchSettings.from_environment(), Silent())
    return Subject(evaluation, bound, weights, catalog)
