"""digits-cnn in Caffe2's environment: figures beside PyTorch's, what its profile says, and files that it can't run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mlms import api
from mlms.builtins.pytorch.models import digits_cnn
from mlms.environments.store import provide
from mlms.errors import InputError
from mlms.progress import Silent
from mlms.serving.process import Worker

ROOT = Path(__file__).parents[3]
PACKAGE = Path(__file__).parents[1] / "mlms_caffe2"
MODELS = PACKAGE / "assets/models/digits"
INPUTS = [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}]
WEIGHTS, FILES = "digits-cnn-init.pb", {"predict_net": "digits-cnn-predict.pb"}


@pytest.fixture
def worker() -> Iterator[Worker]:
    spec = api.load_catalog(()).framework("caffe2").environment
    started = Worker("caffe2", PACKAGE / "serving.py", provide(spec, "caffe2", Silent()), 120)
    yield started
    started.close()


def load(worker: Worker, weights: str | None = str(MODELS / WEIGHTS), **changed: Any) -> Mapping[str, Any]:
    files = {key: str(MODELS / file) for key, file in FILES.items()}
    model = {"name": "digits", "inputs": INPUTS, "factory": None, "arguments": {}, "seed": None, "files": files}
    options = {"dtype": "float32", "threads": None, "packages": [], **changed.pop("options", {})}
    told = {**model, **changed}
    facts: Mapping[str, Any] = worker.ask("load", model=told, weights=weights, device="cpu", options=options)["value"]
    return facts


def images(count: int) -> dict[str, Any]:
    return {"image": np.random.default_rng(count).random((count, 1, 8, 8), dtype=np.float32)}


def logits(batch: Mapping[str, Any]) -> Any:
    network = digits_cnn().eval()
    network.load_state_dict(load_file(ROOT / "assets/models/digits/digits-cnn.safetensors"))
    with torch.inference_mode():
        return network(torch.from_numpy(batch["image"])).numpy()


def test_logits_are_those_of_pytorch(worker: Worker) -> None:
    facts = load(worker, options={"threads": 1})
    assert facts["framework"]["threads"] == 1
    assert facts["model"]["parameters"] == 38282
    for count in (1, 3, 33, 1):
        (found,) = worker.ask("predict", images(count))["outputs"].values()
        np.testing.assert_allclose(found, logits(images(count)), rtol=0, atol=1e-4)
    (found,) = worker.ask("predict", images(0))["outputs"].values()
    assert found.shape == (0, 10)


def test_spans_are_the_layers_in_order_and_within_the_prediction(worker: Worker) -> None:
    load(worker, options={"threads": 1})
    worker.ask("observe", images(2), level="layer")
    taken = []
    for count in (2, 1, 2):
        (found,) = worker.ask("predict_watched", images(count))["outputs"].values()
        np.testing.assert_allclose(found, logits(images(count)), rtol=0, atol=1e-4)
        taken += worker.ask("take")["value"]
    taken += worker.ask("unobserve")["value"]
    assert len(taken) == 3
    for count, ((_, _, start, end, _), *layers) in zip((2, 1, 2), taken, strict=True):
        assert [layer[0] for layer in layers] == [
            "conv1",
            "relu1",
            "conv2",
            "relu2",
            "pool",
            "flatten",
            "fc1",
            "relu3",
            "fc2",
        ]
        assert {layer[1] for layer in layers} == {"layer"}
        assert all(before[3] <= after[2] for before, after in pairwise(layers))
        assert start <= layers[0][2]
        assert layers[-1][3] <= end
        assert layers[0][4]["mlms.layer.type"] == "Conv"
        assert layers[0][4]["mlms.layer.output_shapes"] == [f"{count}x16x8x8"]
    (found,) = worker.ask("predict", images(2))["outputs"].values()
    np.testing.assert_allclose(found, logits(images(2)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100])
def test_a_file_of_another_format_is_refused(worker: Worker, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / WEIGHTS
    file.write_bytes(content)
    with pytest.raises(InputError, match=WEIGHTS) as refused:
        load(worker, str(file))
    assert refused.value.hint


def test_what_does_not_fit_is_refused(worker: Worker) -> None:
    with pytest.raises(InputError, match="bfloat16"):
        load(worker, options={"dtype": "bfloat16"})
    with pytest.raises(InputError, match="picture"):
        load(worker, inputs=[{"name": "picture", "dtype": "float32", "shape": [1, 9, 9]}])
    load(worker)
    with pytest.raises(InputError, match=r"\(batch, 1, 8, 8\), not \(2, 8, 8\)"):
        worker.ask("predict", {"image": np.zeros((2, 8, 8), np.float32)})


def test_both_nets_are_needed(worker: Worker) -> None:
    with pytest.raises(InputError, match="no predict net"):
        load(worker, files={})
    with pytest.raises(InputError, match="make up weights"):
        load(worker, None)
    with pytest.raises(InputError, match="conv1_w"):
        load(worker, str(MODELS / "digits-cnn-predict.pb"))
