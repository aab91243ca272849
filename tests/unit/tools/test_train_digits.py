"""The shipped digits: files that belong together, and a script that makes them again."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from mlms.builtins.pytorch.models import digits_cnn

ROOT = Path(__file__).resolve().parents[3]
MODEL = ROOT / "assets/models/digits/digits-cnn.yaml"
DATASET = ROOT / "assets/datasets/digits/digits-test.yaml"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_digits", ROOT / "tools/train_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return load_file(ROOT / "assets/models/digits/digits-cnn.safetensors")


def test_the_weights_are_those_the_asset_names() -> None:
    content = (ROOT / "assets/models/digits/digits-cnn.safetensors").read_bytes()
    assert yaml.safe_load(MODEL.read_text())["source"]["weights"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_shipped_images_are_those_held_out(script: ModuleType) -> None:
    training, held_out = script.load_splits()
    with np.load(ROOT / "assets/datasets/digits/test.npz", allow_pickle=False) as stored:
        assert np.array_equal(stored["images"], held_out.images)
        assert np.array_equal(stored["labels"], held_out.labels)
        assert (stored["images"].dtype, stored["labels"].dtype) == (np.uint8, np.int64)
    assert (len(training.labels), len(held_out.labels)) == (1347, 450)
    assert np.array_equal(np.load(ROOT / "assets/datasets/digits/digit.npy"), held_out.images[0])


def test_the_published_figures_are_measured_and_no_sample_is_close(script: ModuleType, weights: dict) -> None:
    model = digits_cnn().eval()
    model.load_state_dict(weights)
    found = script.score(model, script.load_splits()[1])
    published = {figure["metric"]: figure["value"] for figure in yaml.safe_load(MODEL.read_text())["published"]}
    assert published == {"top1": round(found.top1, 4), "top5": round(found.top5, 4)}
    assert found.margin > 0.05


def test_training_again_gives_the_same_files_and_a_network_as_good(script: ModuleType, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        training, held_out = script.load_splits()
        model = script.train(training)
        again = script.train(training)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    found = script.score(model, held_out)
    assert found == script.score(again, held_out)
    assert 98 <= found.top1 <= 100
    script.write(tmp_path, model, held_out, found, len(training.labels))
    for file in (DATASET, DATASET.with_name("README.md"), ROOT / "assets/labels/digits.txt"):
        assert (tmp_path / file.relative_to(ROOT)).read_text() == file.read_text()
    written, shipped = (yaml.safe_load((root / MODEL.relative_to(ROOT)).read_text()) for root in (tmp_path, ROOT))
    for asset in (written, shipped):  # other processors may give other last bits
        del asset["source"]["weights"]["sha256"], asset["published"]
    assert written == shipped


def test_the_sample_photographs_are_small_and_whole() -> None:
    images = sorted((ROOT / "assets/datasets/sample-images/images").iterdir())
    assert [image.name for image in images] == ["china.jpg", "flower.jpg"]
    for path in images:
        assert path.stat().st_size <= 100_000
        with Image.open(path) as image:
            image.load()
            assert image.size == (480, 320)
