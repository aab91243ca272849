"""One contract for each Protocol of ``mlms.hooks.types``, held against every implementation that ships with mlms."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from fakes.contexts import context
from fakes.model_assets import torch_model
from mlms import api
from mlms.errors import DataError, DeviceError
from mlms.hooks import (
    Classification,
    Component,
    Context,
    Dataset,
    Framework,
    Metric,
    Predictor,
    Processor,
    Profiler,
    Replays,
    Sample,
    Task,
)
from mlms.hooks.components import Registry
from mlms.manifests.types import TensorSpec
from mlms.tracing.clock import now
from mlms.tracing.levels import LEVELS
from mlms.tracing.recorder import Recorder

COMPONENTS = api.load_plugins()
IMAGE = TensorSpec("image", "float32", (1, 4, 4))


def names(registry: Registry[Any]) -> list[str]:
    return [entry.component.name for entry in registry]


def component(registry: Registry[Any], name: str, options: Mapping[str, Any]) -> Component[Any]:
    """A component, once its own schema takes the options."""
    found = registry.get(name).component
    Draft202012Validator(found.options).validate(dict(options))
    return found


@pytest.mark.parametrize(
    ("noun", "name"),
    [(noun, entry.component.name) for noun, registry in COMPONENTS.registries.items() for entry in registry],
)
def test_component(noun: str, name: str) -> None:
    found = COMPONENTS.registries[noun].get(name).component
    assert found.name == name
    assert found.summary
    assert "\n" not in found.summary
    Draft202012Validator.check_schema(found.options)
    assert found.options["type"] == "object"
    assert not Draft202012Validator(found.options).is_valid({"no-such-option": 1}), "unknown options are refused"
    assert callable(found.make)


# Processor: options, a value it takes, and one it refuses.

PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
SCORES = np.array([0.5, 2.0, -1.0], np.float32)
PROCESSORS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "decode_image": ({"mode": "RGB"}, "picture.png", b"no image"),
    "resize": ({"size": 4}, PIXELS, "text"),
    "center_crop": ({"size": 4}, PIXELS, "text"),
    "rescale": ({"factor": "1/255"}, PIXELS, None),
    "normalize": ({"mean": [0.5] * 3, "std": [0.5] * 3}, PIXELS.astype(np.float32), PIXELS),
    "to_chw": ({}, PIXELS, "text"),
    "reshape": ({"shape": [3, -1]}, PIXELS, np.zeros(7)),
    "cast": ({"dtype": "float32"}, PIXELS, np.array(["text"])),
    "softmax": ({}, SCORES, np.zeros((2, 2))),
    "top_k": ({"k": 2, "labels": "abc"}, SCORES, np.zeros((2, 2))),
}


def test_every_processor_has_a_case() -> None:
    assert sorted(PROCESSORS) == names(COMPONENTS.processors)


@pytest.mark.parametrize("name", PROCESSORS)
def test_processor(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("picture.png")
    options, value, bad = PROCESSORS[name]
    processor = component(COMPONENTS.processors, name, options).make(options, context())
    assert isinstance(processor, Processor)
    before = value.copy() if isinstance(value, np.ndarray) else value
    if isinstance(value, np.ndarray):
        value.flags.writeable = False  # as a dataset may give it
    first = processor(value)
    if isinstance(value, np.ndarray):
        assert np.array_equal(value, before), "it leaves what it is given alone"
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(processor, [value] * 16):
            assert same(first, other), "it keeps no state, so that threads don't disturb each other"
    if bad is not None:
        with pytest.raises(DataError) as caught:
            processor(bad)
        assert caught.value.hint


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Classification):
        return (one.classes, one.labels) == (other.classes, other.labels) and np.array_equal(one.scores, other.scores)
    return bool(np.array_equal(one, other)) and one.dtype == other.dtype


# Dataset


def readers(folder: Path) -> Iterator[tuple[str, dict[str, Any], Context]]:
    """Each reader with options and a context with three or more samples."""
    for name in ("a", "b", "c"):
        (folder / "images" / name).mkdir(parents=True)
        Image.fromarray(PIXELS).save(folder / "images" / name / f"{name}.png")
    np.savez(folder / "data.npz", values=np.zeros((3, 4), np.float32), targets=np.arange(3))
    (folder / "rows.csv").write_text("text,label\nx,a\ny,b\nz,c\n")
    yield "image_folder", {}, context(folder / "images")
    yield "array_file", {"values": "values", "targets": "targets"}, context(folder / "data.npz")
    yield "table", {"value": "text", "target": "label"}, context(folder / "rows.csv", ("a", "b", "c"))
    yield "synthetic", {"count": 5}, context(inputs=[IMAGE])


def test_every_reader_has_a_case(tmp_path: Path) -> None:
    assert sorted({name for name, _, _ in readers(tmp_path)}) == names(COMPONENTS.datasets)


@pytest.mark.parametrize("name", names(COMPONENTS.datasets))
def test_dataset(name: str, tmp_path: Path) -> None:
    options, where = next((options, where) for reader, options, where in readers(tmp_path) if reader == name)
    found = component(COMPONENTS.datasets, name, options)
    dataset = found.make(options, where)
    assert isinstance(dataset, Dataset)
    samples = [dataset[index] for index in range(len(dataset))]
    assert len(samples) >= 3
    assert all(isinstance(sample, Sample) for sample in samples)
    assert len({sample.id for sample in samples}) == len(samples)
    again = found.make(options, where)
    with ThreadPoolExecutor(4) as pool:
        for sample, other in zip(samples, pool.map(again.__getitem__, range(len(samples))), strict=True):
            assert sample.id == other.id, "the same on every machine and in every thread"
            assert sample.target == other.target
            assert np.array_equal(sample.value, other.value)
    if name != "synthetic":
        missing = replace(where, dataset=replace(where.dataset, path=tmp_path / "nowhere"))  # type: ignore[type-var]
        with pytest.raises(DataError) as caught:
            found.make(options, missing)
        assert "nowhere" in str(caught.value)
        assert caught.value.hint


# Metric


@pytest.mark.parametrize("name", names(COMPONENTS.metrics))
def test_metric(name: str) -> None:
    """The figure doesn't depend on how the predictions come in, and two metrics don't share what they counted."""
    random = np.random.default_rng(0)
    scores = [row.astype(np.float32) for row in random.standard_normal((30, 8))]
    predictions = [Classification(row, tuple(np.argsort(-row).tolist())) for row in scores]
    targets = random.integers(0, 8, 30).tolist()
    found = component(COMPONENTS.metrics, name, {})
    at_once, one_by_one, other = (found.make({}, context()) for _ in range(3))
    assert isinstance(at_once, Metric)
    at_once.update(predictions, targets)
    for prediction, target in zip(predictions, targets, strict=True):
        one_by_one.update([prediction], [target])
    other.update(predictions, [prediction.classes[0] for prediction in predictions])
    assert isinstance(at_once.compute(), float)
    assert at_once.compute() == one_by_one.compute() == at_once.compute()
    assert other.compute() == 100.0
    assert at_once.unit == "%"
    with pytest.raises(DataError):
        found.make({}, context()).compute()


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


@pytest.mark.parametrize("name", names(COMPONENTS.profilers))
def test_profiler(name: str) -> None:
    """It observes while its context is open, from outside, or says in one line why it can't; and lets errors pass."""
    profiler = component(COMPONENTS.profilers, name, {}).make({}, context())
    assert isinstance(profiler, Profiler)
    assert profiler.level in LEVELS[LEVELS.index("model") + 1 :]
    recorder = Recorder()
    begun, threads = now(), threading.active_count()
    with profiler.attach(recorder):
        assert recorder.counters == [], "what it saw is given when the context ends"
        assert threading.active_count() == threads, "nothing runs in this process for it"
        time.sleep(0.25)
    assert recorder.counters or recorder.activities or recorder.notes or isinstance(profiler, Replays)
    for note in recorder.notes:
        assert note.startswith(f"{name}: ")
        assert "\n" not in note
    told_apart = set()
    for counter in recorder.counters:
        assert counter.kind in ("gauge", "sum")
        assert counter.unit
        assert counter.time_ns.shape == counter.value.shape
        assert begun <= counter.time_ns[0] <= counter.time_ns[-1] <= now()
        assert (np.diff(counter.time_ns) > 0).all()
        assert np.isfinite(counter.value).all()
        if counter.kind == "sum":
            assert counter.value[0] == 0
            assert (np.diff(counter.value) >= 0).all()
        told_apart.add((counter.name, json.dumps(dict(counter.attributes), sort_keys=True)))
    assert len(told_apart) == len(recorder.counters)
    again = Recorder()
    with pytest.raises(ZeroDivisionError), profiler.attach(again):
        raise ZeroDivisionError


# Framework and Predictor


@pytest.mark.parametrize("name", names(COMPONENTS.frameworks))
def test_framework_and_predictor(name: str) -> None:
    framework = COMPONENTS.frameworks.get(name).component.make({}, context())
    assert isinstance(framework, Framework)
    assert set(framework.levels) <= {"application", "model", "framework", "layer", "operator", "library", "hardware"}
    assert {"version", "threads"} <= framework.describe().keys()
    model = torch_model("linear", {"inputs": 4, "outputs": 3}, inputs={"image": (4,)})
    options = {"packages": ["fakes.torch_factories"], "dtype": "float32", "threads": 1}
    predictor = framework.load(model, None, "cpu", options)
    assert isinstance(predictor, Predictor)
    batch = {"image": np.random.default_rng(0).standard_normal((5, 4), np.float32)}
    first = {key: np.array(value) for key, value in predictor.predict(batch).items()}
    assert all(len(values) == 5 for values in first.values())
    again = predictor.predict(batch)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert {"parameters", "size_bytes", "device", "dtype"} <= predictor.describe().keys()
    predictor.close()
    predictor.close()
    with pytest.raises(DeviceError) as caught:
        framework.load(model, None, "abacus", options)
    assert caught.value.hint
