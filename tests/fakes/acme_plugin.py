"""A third party's plugin: a framework of its own on numpy, processors, metrics, a reader, and an asset folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlms.hooks import Batch, Component, Dataset, Framework, Metric, Outputs, Predictor, Processor, Sample, hookimpl
from mlms.manifests.types import ModelAsset

FRAMEWORK = """\
kind: framework
schema_version: 1
name: acme
component: acme
distribution: numpy
packages: [acme_plugin]
"""


class Judge:
    """Scores by a fixed random projection. ``raise_at``: the call, from 1, that raises. ``sleep``: seconds a call."""

    def __init__(
        self, classes: int = 10, raise_at: int = 0, sleep: float = 0.0, short: bool = False, closing: str = ""
    ) -> None:
        self.classes, self.raise_at, self.sleep, self.short, self.closing = classes, raise_at, sleep, short, closing
        self.calls = 0

    def predict(self, batch: Batch) -> Outputs:
        self.calls += 1
        if self.calls == self.raise_at:
            raise ZeroDivisionError("the scales are empty")
        time.sleep(self.sleep)
        flat = next(iter(batch.values())).reshape(len(next(iter(batch.values()))), -1)
        weights = np.random.default_rng(0).standard_normal((flat.shape[1], self.classes)).astype(np.float32)
        # Sample by sample: a product of matrices may round differently from one batch size to another.
        scores = np.stack([row @ weights for row in flat])
        return {"scores": scores[:-1] if self.short else scores}

    def describe(self) -> Mapping[str, Any]:
        return {"parameters": 640, "size_bytes": 2560, "device": "cpu", "dtype": "float32", "calls": self.calls}

    def close(self) -> None:
        if self.closing:
            raise OSError(self.closing)


class Scales:
    levels: tuple[str, ...] = ("application", "model")

    def load(self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]) -> Predictor:
        return Judge(**model.source.arguments)

    def describe(self) -> Mapping[str, Any]:
        return {"version": np.__version__, "threads": 1}


class Invert:
    def __call__(self, value: Any) -> Any:
        return np.float32(1) - value


class Explode:
    def __call__(self, value: Any) -> Any:
        raise LookupError("nothing here to chew on")


class Mistakes:
    """Counts the predictions whose best class is wrong."""

    unit = ""

    def __init__(self) -> None:
        self.count = 0

    def update(self, predictions: Sequence[Any], targets: Sequence[Any]) -> None:
        self.count += sum(
            prediction.classes[0] != target for prediction, target in zip(predictions, targets, strict=True)
        )

    def compute(self) -> float:
        return float(self.count)


class Stuck(Mistakes):
    def compute(self) -> float:
        raise ArithmeticError("lost count")


class Ragged:
    """Three samples, the last of which can't be read."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        if index == 2:
            raise OSError("the tape snapped")
        return Sample(str(index), np.zeros((1, 8, 8), np.float32), index)


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    folder = Path(__file__).with_name("acme_assets")
    (folder / "frameworks").mkdir(parents=True, exist_ok=True)
    (folder / "frameworks" / "acme.yaml").write_text(FRAMEWORK, encoding="utf-8")
    return [folder]


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    return [Component("acme", lambda options, context: Scales(), "Weighs things.")]


@hookimpl
def mlms_processors() -> Iterable[Component[Processor]]:
    return [
        Component("invert", lambda options, context: Invert(), "One minus the value."),
        Component("explode", lambda options, context: Explode(), "Raises."),
        Component("unmakeable", lambda options, context: 1 // 0, "Can't be made."),
    ]


@hookimpl
def mlms_datasets() -> Iterable[Component[Dataset]]:
    return [Component("ragged", lambda options, context: Ragged(), "Three samples, one broken.")]


@hookimpl
def mlms_metrics() -> Iterable[Component[Metric]]:
    return [
        Component("mistakes", lambda options, context: Mistakes(), "Wrong answers."),
        Component("stuck", lambda options, context: Stuck(), "Raises."),
    ]
