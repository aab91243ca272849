"""One accuracy, however the samples came to be predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlms as package
from fakes.manifests import QUICK, judge, manifest

SAMPLES = 200
DATASET = {
    "name": "noise",
    "reader": {"array_file": {"values": "values", "targets": "targets"}},
    "path": "noise.npz",
    "labels": "digits",
}
CASES: dict[str, dict[str, Any]] = {
    "one at a time": {},
    "offline": {"scenario": {**QUICK, "type": "offline"}, "batch_size": 32},
    "offline, few samples answered": {"scenario": {**QUICK, "type": "offline", "min_queries": 1}, "batch_size": 3},
    "a batch that doesn't divide the dataset": {"batch_size": 7},
    "a batch of more than the dataset": {"batch_size": SAMPLES + 50, "scenario": {**QUICK, "min_queries": 2}},
    "memory for a third of the dataset": {"preprocessing": {"memory_mib": 1, "workers": 3}},
    "memory for less than a batch": {"preprocessing": {"memory_mib": 1, "workers": 1}, "batch_size": 90},
}


@pytest.fixture
def noise(acme: Path) -> dict[str, Any]:
    """A dataset of samples of 16 KiB, and a model for it."""
    random = np.random.default_rng(1)
    values = random.standard_normal((SAMPLES, 1, 64, 64), np.float32)
    np.savez("noise.npz", values=values, targets=random.integers(0, 10, SAMPLES))
    model = judge(input=[{"name": "image", "dtype": "float32", "shape": [1, 64, 64]}], preprocess=[])
    return {"models": [model], "dataset": DATASET}


def test_every_way_gives_the_same_predictions_in_the_datasets_order(noise: dict[str, Any]) -> None:
    frames, figures = {}, {}
    for case, change in CASES.items():
        (run,) = package.evaluate(manifest(**noise, **change)).raise_for_failures()
        assert run.record["dataset"]["evaluated"] == SAMPLES, case
        assert run.predictions["index"].to_list() == list(range(SAMPLES)), case
        frames[case], figures[case] = run.predictions, run.metrics
    first = frames.pop("one at a time")
    for case, frame in frames.items():
        assert frame.equals(first), case
    assert len({tuple(values.items()) for values in figures.values()}) == 1


def test_a_limit_uses_the_first_samples_and_is_not_held_against_published_figures(noise: dict[str, Any]) -> None:
    noise["models"][0]["published"] = [{"metric": "top1", "value": 50, "dataset": "noise"}]
    (run,) = package.evaluate(manifest(**noise, limit=20)).raise_for_failures()
    assert run.predictions["index"].to_list() == list(range(20))
    assert run.record["metrics"][0]["published"] is None
    (whole,) = package.evaluate(manifest(**noise)).raise_for_failures()
    assert whole.record["metrics"][0]["published"]["difference"] == whole.metrics["top1"] - 50


def test_other_weights_are_not_held_against_published_figures(noise: dict[str, Any]) -> None:
    noise["models"][0]["published"] = [{"metric": "top1", "value": 50, "dataset": "noise"}]
    Path("copy.bin").write_bytes(Path("judge.bin").read_bytes())
    Path("other.bin").write_bytes(b"other weights")
    for file, held in (("copy.bin", True), ("other.bin", False)):
        (run,) = package.evaluate(manifest(**noise, weights={"file": file})).raise_for_failures()
        assert (run.record["metrics"][0]["published"] is not None) is held, file


def test_a_dataset_without_labels_is_predicted_but_not_scored(noise: dict[str, Any]) -> None:
    dataset = {**DATASET, "reader": {"array_file": {"values": "values"}}}
    (run,) = package.evaluate(manifest(**{**noise, "dataset": dataset})).raise_for_failures()
    assert run.record["accuracy"] == {"reported": False, "reason": "dataset 'noise' has no labels"}
    assert run.predictions.height == SAMPLES
    assert run.predictions["target"].null_count() == SAMPLES
