"""ONNX models in ONNX Runtime: figures beside PyTorch's, profiles, and files that can't be run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

from mlms.builtins.pytorch.models import digits_cnn

serving = pytest.importorskip("mlms_onnxruntime.serving")

ROOT = Path(__file__).parents[3]
FILE = ROOT / "plugins/mlms-onnxruntime/mlms_onnxruntime/assets/models/digits/digits-cnn.onnx"
INPUTS = [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}]


def load(path: Path = FILE, inputs: Any = INPUTS, files: Any = (), **options: Any) -> Any:
    model = {"name": "digits", "inputs": inputs, "factory": None, "arguments": {}, "seed": None, "files": dict(files)}
    return serving.load(model, str(path), "cpu", {"dtype": "float32", "threads": None, "packages": (), **options})


def images(count: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(count).random((count, 1, 8, 8), dtype=np.float32)}


def changed(path: Path, change: Any, **saved: Any) -> Path:
    model = onnx.load(str(FILE))
    change(model)
    onnx.save(model, str(path), **saved)
    return path


def external(folder: Path) -> Path:
    folder.mkdir()
    saved = {"save_as_external_data": True, "location": "model.data", "size_threshold": 0}
    return changed(folder / "model.onnx", lambda model: None, **saved)


@pytest.mark.parametrize("options", [{}, {"graph_optimization_level": "disabled"}, {"execution_mode": "parallel"}])
@pytest.mark.parametrize("count", [1, 2, 33])
def test_logits_are_those_of_pytorch(options: dict[str, Any], count: int) -> None:
    network = digits_cnn().eval()
    network.load_state_dict(load_file(ROOT / "assets/models/digits/digits-cnn.safetensors"))
    batch = images(count)
    with torch.inference_mode():
        expected = network(torch.from_numpy(batch["image"])).numpy()
    logits = load(**options, inter_op_threads=2).predict(batch)["logits"]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def test_an_empty_batch_has_empty_outputs() -> None:
    assert load().predict(images(0))["logits"].shape == (0, 10)


def test_facts() -> None:
    model = load(threads=1)
    assert model.describe() == {
        "parameters": sum(parameter.numel() for parameter in digits_cnn().parameters()),
        "size_bytes": 4 * sum(parameter.numel() for parameter in digits_cnn().parameters()),
        "device": "cpu",
        "dtype": "float32",
        "providers": ["CPUExecutionProvider"],
        "threads": 1,
    }
    convolutions = 64 * 16 * 9 + 64 * 32 * 16 * 9
    assert model.flops(images(3)) == 3 * 2 * (convolutions + 512 * 64 + 64 * 10)


def test_threads_share_a_model() -> None:
    model, batches = load(threads=1), [images(count) for count in range(1, 9)]
    expected = [model.predict(batch)["logits"] for batch in batches]
    wrong: list[int] = []

    def predict(index: int) -> None:
        for _ in range(50):
            if not np.allclose(model.predict(batches[index])["logits"], expected[index], atol=1e-6):
                wrong.append(index)

    threads = [threading.Thread(target=predict, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("shape", [(2, 1, 9, 8), (2, 8, 8)])
def test_a_wrong_shape_is_an_error_with_both(shape: tuple[int, ...]) -> None:
    with pytest.raises(Exception, match=r"'image' takes the shape \['batch', 1, 8, 8\], but was given \[2, "):
        load().predict({"image": np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "opset",
            lambda model: setattr(model.opset_import[0], "version", 99),
            "is of opset 99 of ai.onnx, but .* takes",
        ),
        ("ir", lambda model: setattr(model, "ir_version", 99), "is of IR version 99, but .* takes"),
        ("operator", lambda model: setattr(model.graph.node[1], "op_type", "Relux"), "can't load .*Relux"),
    ],
)
def test_what_onnxruntime_does_not_take(tmp_path: Path, name: str, change: Any, message: str) -> None:
    path = changed(tmp_path / f"{name}.onnx", change)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- its message is looked at below
        load(path)
    said, _hint = caught.value.args
    assert re.search(message, said)
    assert str(path) in said


@pytest.mark.parametrize("content", [b"", b"hello world" * 10, FILE.read_bytes()[:50_000]])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.onnx is no ONNX model"):
        load(path)


def test_external_data(tmp_path: Path) -> None:
    expected = load().predict(images(2))["logits"]
    path = external(tmp_path / "model")
    np.testing.assert_array_equal(load(path).predict(images(2))["logits"], expected)
    away = tmp_path / f"{'0' * 64}-model.data"
    shutil.move(path.with_name("model.data"), away)
    with pytest.raises(ValueError, match=r"'model\.data', which is not there"):
        load(path)
    model = load(path, files={"data": str(away)})
    assert model.describe()["size_bytes"] == load().describe()["size_bytes"]
    np.testing.assert_array_equal(model.predict(images(2))["logits"], expected)
    # The same where what was freed is overwritten at once.
    test = f"{__file__}::test_external_data"
    if os.environ.get("PYTHONMALLOC") != "debug":
        command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", test]
        again = subprocess.run(command, env=os.environ | {"PYTHONMALLOC": "debug"}, capture_output=True, text=True)
        assert again.returncode == 0, again.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "computes in float32, not in float16"),
        ({"providers": ["NonsenseExecutionProvider"]}, "has no NonsenseExecutionProvider"),
        ({"provider_options": {"CUDAExecutionProvider": {}}}, "which isn't used"),
        ({"inputs": [{**INPUTS[0], "name": "picture"}]}, "has the inputs image, but the model asset picture"),
        ({"inputs": [{**INPUTS[0], "shape": [3, 8, 8]}]}, r"float32 of shape \[3, 8, 8\] a sample in the model asset"),
        ({"inputs": [{**INPUTS[0], "dtype": "float64"}]}, "but float64 of shape"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**options)


def test_only_observed_sessions_are_profiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = load()
    model.predict(images(1))
    with model.observe("layer", images(1)) as watched:
        watched.predict(images(1))
    assert not list(tmp_path.iterdir())
    assert model._session.end_profiling() == ""


@pytest.mark.parametrize("held", [10, 100_000])
def test_spans_lie_within_their_predictions(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HELD_EVENTS", held)  # 10: a session for every prediction or two
    model, times, taken = load(), [], []
    with model.observe("layer", images(4)) as watched:
        for count in (1, 4, 4, 2, 1):
            start = perf_counter_ns()
            watched.predict(images(count))
            times.append((start, perf_counter_ns()))
            taken += watched.take()
    taken += watched.take()
    assert len(taken) == 5
    for (start, end), spans in zip(times, taken, strict=True):
        (run,) = [span for span in spans if span[1] == "framework"]
        layers = [span for span in spans if span[1] == "layer"]
        assert run[0] == "model_run"
        assert {"Conv", "MaxPool", "Gemm"} <= {span[4]["mlms.layer.type"] for span in layers}
        for _, _, begin, stop, _ in spans:
            assert start - 2_000 <= begin <= stop <= end + 2_000  # the profile is in whole microseconds
        assert all(one[3] <= other[2] + 2_000 for one, other in pairwise(layers))
    shapes = [[span[4]["mlms.layer.output_shapes"] for span in spans if span[0] == "8"] for spans in taken]
    assert shapes == [[["1x10"]], [["4x10"]], [["4x10"]], [["2x10"]], [["1x10"]]]


def test_at_the_level_framework_there_are_no_layers() -> None:
    with load().observe("framework", images(1)) as watched:
        watched.predict(images(1))
    assert [span[:2] for spans in watched.take() for span in spans] == [("model_run", "framework")]


def test_names_that_json_has_to_escape(tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[5].name = 'a "quoted\\name'

    with load(changed(tmp_path / "names.onnx", rename)).observe("layer", images(1)) as watched:
        watched.predict(images(1))
    (spans,) = watched.take()
    assert 'a "quoted\\name' in [span[0] for span in spans]


def test_a_profile_of_an_earlier_version(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('[\n{"cat" : "Node","ts" :1,"name" :"a "quoted\\name_kernel_time","args" : {}}\n]\n')
    (event,) = serving.profile._events(path)
    assert event["name"] == 'a "quoted\\name_kernel_time'


def test_a_refused_batch_has_no_spans_and_shifts_no_other_s(tmp_path: Path) -> None:
    model = load()
    with model.observe("layer", images(2)) as watched:
        watched.predict(images(2))
        with pytest.raises(ValueError, match="takes the shape"):
            watched.predict({"image": np.zeros((2, 8, 8), np.float32)})
        watched.predict(images(3))
    first, second = watched.take()
    assert [span[0] for span in first] == [span[0] for span in second]
    assert [span[1] for span in first].count("layer") > 3
    model.close()
