"""The contracts of ``mlms.testing``, held against every implementation that ships with mlms; frameworks apart."""

from __future__ import annotations

import pickle
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from fakes.contexts import context
from mlms import api
from mlms.errors import DataError
from mlms.hooks import Classification, Task
from mlms.hooks.components import Registry
from mlms.manifests.types import TensorSpec
from mlms.testing import DatasetContract, MetricContract, ProcessorContract, ProfilerContract
from mlms.testing.components import check_component
from mlms.testing.processors import NOTHING

COMPONENTS = api.load_plugins()


def names(registry: Registry[Any]) -> list[str]:
    return [entry.component.name for entry in registry]


@pytest.mark.parametrize(
    ("noun", "name"),
    [(noun, entry.component.name) for noun, registry in COMPONENTS.registries.items() for entry in registry],
)
def test_component(noun: str, name: str) -> None:
    check_component(COMPONENTS.registries[noun].get(name).component, name)


# Processor: options, a value it takes, and one it refuses.

PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def picture() -> bytes:
    file = BytesIO()
    Image.fromarray(PIXELS).save(file, "png")
    return file.getvalue()


SCORES = np.array([0.5, 2.0, -1.0], np.float32)
PROCESSORS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "decode_image": ({"mode": "RGB"}, picture(), b"no image"),
    "resize": ({"size": 4}, PIXELS, "text"),
    "center_crop": ({"size": 4}, PIXELS, "text"),
    "rescale": ({"factor": "1/255"}, PIXELS, NOTHING),
    "normalize": ({"mean": [0.5] * 3, "std": [0.5] * 3}, PIXELS.astype(np.float32), PIXELS),
    "to_chw": ({}, PIXELS, "text"),
    "reshape": ({"shape": [3, -1]}, PIXELS, np.zeros(7)),
    "cast": ({"dtype": "float32"}, PIXELS, np.array(["text"])),
    "softmax": ({}, SCORES, np.zeros((2, 2))),
    "top_k": ({"k": 2, "labels": "digits"}, np.arange(10, dtype=np.float32), np.zeros((2, 2))),
}


def test_every_processor_has_a_case() -> None:
    assert sorted(PROCESSORS) == names(COMPONENTS.processors)


for _name, (_options, _value, _bad) in PROCESSORS.items():
    attributes = {"processor": _name, "options": _options, "value": _value, "bad_value": _bad}
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (ProcessorContract,), attributes)


# Dataset


class TestImageFolder(DatasetContract):
    reader = "image_folder"

    def write_data(self, folder: Path) -> Path:
        for name in ("a", "b", "c"):
            (folder / "images" / name).mkdir(parents=True)
            Image.fromarray(PIXELS).save(folder / "images" / name / f"{name}.png")
        return folder / "images"


class TestArrayFile(DatasetContract):
    reader = "array_file"
    options: ClassVar = {"values": "values", "targets": "targets"}

    def write_data(self, folder: Path) -> Path:
        np.savez(folder / "data.npz", values=np.zeros((3, 4), np.float32), targets=np.arange(3))
        return folder / "data.npz"


class TestTable(DatasetContract):
    reader = "table"
    options: ClassVar = {"value": "text", "target": "label"}
    labels = ("a", "b", "c")

    def write_data(self, folder: Path) -> Path:
        (folder / "rows.csv").write_text("text,label\nx,a\ny,b\nz,c\n")
        return folder / "rows.csv"


class TestSynthetic(DatasetContract):
    reader = "synthetic"
    options: ClassVar = {"count": 5}
    model = context(inputs=[TensorSpec("image", "float32", (1, 4, 4))]).model


def test_every_reader_has_a_case() -> None:
    assert {each.reader for each in DatasetContract.__subclasses__()} >= set(names(COMPONENTS.datasets))


# Metric


RANDOM = np.random.default_rng(0)
ROWS = [row.astype(np.float32) for row in RANDOM.standard_normal((30, 8))]
PREDICTIONS = [Classification(row, tuple(np.argsort(-row).tolist())) for row in ROWS]
TARGETS = RANDOM.integers(0, 8, 30).tolist()


def share(best: int) -> float:
    """How many targets are among the ``best`` classes, in percent."""
    right = [target in each.classes[:best] for each, target in zip(PREDICTIONS, TARGETS, strict=True)]
    return 100 * sum(right) / len(right)


class TestTop1(MetricContract):
    metric, predictions, targets, expected = "top1", PREDICTIONS, TARGETS, share(1)


class TestTop5(MetricContract):
    metric, predictions, targets, expected = "top5", PREDICTIONS, TARGETS, share(5)


def test_every_metric_has_a_case() -> None:
    assert {each.metric for each in MetricContract.__subclasses__()} >= set(names(COMPONENTS.metrics))


# Task


@pytest.mark.parametrize("name", names(COMPONENTS.tasks))
def test_task(name: str) -> None:
    task = COMPONENTS.tasks.get(name).component.make({}, context())
    assert isinstance(task, Task)
    assert task.name == name
    assert set(task.metrics) <= set(names(COMPONENTS.metrics))
    described = task.describe(SCORES)
    assert pickle.loads(pickle.dumps(described)) == described
    assert all(isinstance(value, str | int | float | list | None) for value in described.values())
    labels = replace(context(labels=("a", "b", "c")).dataset)  # type: ignore[type-var]
    task.check({"output": SCORES[None]}, labels)
    with pytest.raises(DataError):
        task.check({"output": np.zeros((1, 4))}, labels)


# Profiler


for _name in names(COMPONENTS.profilers):
    globals()[f"Test_{_name}"] = type(f"Test_{_name}", (ProfilerContract,), {"profiler": _name})
