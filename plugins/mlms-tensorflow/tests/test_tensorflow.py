"""Model files of every kind and bad ones, run in the environment of the framework asset."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from mlms import api
from mlms.builtins.pytorch.models import digits_cnn
from mlms.environments.environment import Environment
from mlms.environments.store import provide
from mlms.errors import InputError, MlmsError
from mlms.progress import Silent
from mlms.serving.process import Worker

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "plugins/mlms-tensorflow"
ASSET = PLUGIN / "mlms_tensorflow/assets/models/digits/digits-cnn-tensorflow.zip"
SERVING = PLUGIN / "mlms_tensorflow/serving"
MODEL = {
    "name": "digits",
    "inputs": [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}],
    "factory": None,
    "arguments": {},
    "seed": None,
    "files": {},
}

MAKE_BAD = """
import sys, tensorflow as tf
folder = sys.argv[1]
graph = tf.compat.v1.GraphDef.FromString(open(folder + "/digits-cnn-tensorflow.pb", "rb").read())
graph.versions.min_consumer = 10**6
open(folder + "/too-new.pb", "wb").write(graph.SerializeToString())
graph.versions.min_consumer = 0
next(node for node in graph.node if node.op == "Conv2D").op = "Conv9D"
open(folder + "/unknown-op.pb", "wb").write(graph.SerializeToString())
inputs = tf.keras.Input((1, 8, 8))
model = tf.keras.Model(inputs, tf.keras.layers.Lambda(lambda values: values * 2)(inputs))
model.save(folder + "/lambda.keras")
"""


@pytest.fixture(scope="module")
def environment() -> Environment:
    try:
        spec = api.load_catalog([]).framework("tensorflow").environment
        return provide(spec, "tensorflow", Silent())
    except MlmsError as error:
        pytest.skip(f"no environment with TensorFlow: {error}")


@pytest.fixture(scope="module")
def files(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the exporting tool writes, and files that TensorFlow refuses."""
    folder = tmp_path_factory.mktemp("files")
    for command in ([PLUGIN / "tools/export_digits.py", folder], ["-c", MAKE_BAD, folder]):
        subprocess.run([environment.interpreter, *command], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def worker(environment: Environment) -> Iterator[Worker]:
    """One for all, since TensorFlow takes seconds to import."""
    started = Worker("tensorflow", SERVING, environment, 120)
    yield started
    started.close()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((5, 1, 8, 8), np.float32)


def load(worker: Worker, weights: Path | None, **options: Any) -> Mapping[str, Any]:
    given = {"dtype": "float32", "threads": None, "packages": [], **options}
    path = None if weights is None else str(weights)
    reply: Mapping[str, Any] = worker.ask("load", model=MODEL, weights=path, device="cpu", options=given)["value"]
    return reply


def expected(images: np.ndarray) -> np.ndarray:
    import torch

    model = digits_cnn().eval()
    model.load_state_dict(load_file(ROOT / "assets/models/digits/digits-cnn.safetensors"))
    with torch.inference_mode():
        found: np.ndarray = model(torch.from_numpy(images)).numpy()
    return found


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("zip", {}),
        ("zip", {"freeze": True}),
        ("zip", {"jit_compile": True}),
        ("keras", {}),
        ("pb", {}),
        ("pb", {"inputs": ["image:0"], "outputs": ["Identity"]}),
    ],
    ids=str,
)
def test_every_kind_of_file_gives_pytorchs_logits(
    worker: Worker, files: Path, images: np.ndarray, suffix: str, options: dict[str, Any]
) -> None:
    facts = load(worker, files / f"digits-cnn-tensorflow.{suffix}", **options)["model"]
    assert facts == {"parameters": 38282, "size_bytes": 4 * 38282, "device": "cpu", "dtype": "float32"}
    (logits,) = worker.ask("predict", {"image": images})["outputs"].values()
    np.testing.assert_allclose(logits, expected(images), atol=1e-4)
    (none,) = worker.ask("predict", {"image": images[:0]})["outputs"].values()
    assert none.shape == (0, 10)


def test_the_tool_makes_the_committed_file(environment: Environment, files: Path) -> None:
    if environment.packages["tensorflow_cpu"] != "2.21.0":
        pytest.skip("the committed file was made with TensorFlow 2.21.0")
    assert (files / ASSET.name).read_bytes() == ASSET.read_bytes()


def test_a_saved_model_may_be_a_tar_archive(worker: Worker, images: np.ndarray, tmp_path: Path) -> None:
    with zipfile.ZipFile(ASSET) as packed:
        packed.extractall(tmp_path / "saved")
    with tarfile.open(tmp_path / "saved.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "saved", ".")
    load(worker, tmp_path / "saved.tar.gz")
    assert worker.ask("predict", {"image": images})["outputs"]["logits"].shape == (5, 10)


def test_operations_are_layers_within_the_prediction(worker: Worker, images: np.ndarray) -> None:
    load(worker, ASSET)
    worker.ask("observe", {"image": images}, level="layer")
    worker.ask("predict_watched", {"image": images})
    with pytest.raises(InputError):
        worker.ask("predict_watched", {"image": images[:, 0]})  # which is no prediction of the two
    worker.ask("predict_watched", {"image": images})
    predictions = worker.ask("unobserve")["value"]
    assert len(predictions) == 2
    for (_, _, start, end, _), *spans in predictions:
        layers = {name: attributes for name, level, _, _, attributes in spans if level == "layer"}
        assert layers["conv2/Relu"].pop("thread.id") >= 0
        assert layers["conv2/Relu"] == {
            "mlms.layer.type": "_FusedConv2D",
            "mlms.layer.output_shapes": ["5x8x8x32"],
        }
        assert [name for name, level, *_ in spans if level == "framework"] == ["to tensors", "execute", "to arrays"]
        executed = next(span for span in spans if span[0] == "execute")
        assert all(start <= begins < ends <= end for _, _, begins, ends, _ in spans)
        assert all(executed[2] <= span[2] and span[3] <= executed[3] for span in spans if span[0] in layers)


def test_flops(worker: Worker, images: np.ndarray) -> None:
    load(worker, ASSET)
    counted = worker.ask("call", {"image": images[:1]}, name="flops")["value"]
    multiplied = 64 * 9 * 16 + 64 * 9 * 16 * 32 + 512 * 64 + 64 * 10
    assert 2 * multiplied <= counted < 2.05 * multiplied


@pytest.mark.parametrize(
    ("image", "given"),
    [
        (np.zeros((2, 1, 9, 8), np.float32), r"given as float32 \(2, 1, 9, 8\)"),
        (np.zeros((2, 1, 8, 8)), "given as float64"),
    ],
    ids=["shape", "dtype"],
)
def test_a_wrong_input_is_told(worker: Worker, image: np.ndarray, given: str) -> None:
    load(worker, ASSET)
    with pytest.raises(InputError, match=rf"'image' is expected as float32 \(any, 1, 8, 8\), {given}"):
        worker.ask("predict", {"image": image})


def packed(entries: Mapping[str, bytes], kind: int = 0o100644) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = kind << 16
            archive.writestr(entry, data)
    return content.getvalue()


def tarred(name: str, kind: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a model", "file.bin is no TensorFlow model"),
        (b"", "file.bin is no TensorFlow model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "Keras's old format"),
        (b"\x1c\0\0\0TFL3" + bytes(64), "is a LiteRT"),
        (packed({"a.txt": b"a"}), "neither a SavedModel nor a Keras model"),
        (packed({"../saved_model.pb": b""}), "outside of its folder"),
        (packed({"/tmp/saved_model.pb": b""}), "outside of its folder"),
        (packed({"m/saved_model.pb": b"/etc/passwd"}, 0o120777), "no file and no folder"),
        (packed({"m/saved_model.pb": b"rubbish"}), "can't be run by TensorFlow"),
        (packed({"m/saved_model.pb": b"", "n/saved_model.pb": b""}), "holds 2 SavedModels"),
        (tarred("../saved_model.pb", tarfile.REGTYPE), "outside of its folder"),
        (tarred("saved_model.pb", tarfile.SYMTYPE), "no file and no folder"),
        (tarred("saved_model.pb", tarfile.CHRTYPE), "no file and no folder"),
    ],
    ids=range(13),
)
def test_a_bad_file_is_told(worker: Worker, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file.bin").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(worker, tmp_path / "file.bin")
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too-new.pb", "too-new.pb can't be run by TensorFlow.*min.consumer"),
        ("unknown-op.pb", "unknown-op.pb can't be run by TensorFlow.*Conv9D"),
        ("lambda.keras", "lambda.keras holds Python code"),
    ],
)
def test_what_this_tensorflow_does_not_run_is_told(worker: Worker, files: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        load(worker, files / name)


def test_a_keras_file_by_another_name_is_told(worker: Worker, files: Path, tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes((files / "digits-cnn-tensorflow.keras").read_bytes())
    with pytest.raises(InputError, match=r"by the name \.keras only"):
        load(worker, tmp_path / "model.zip")


def test_a_saved_model_without_its_folder_is_told(worker: Worker, tmp_path: Path) -> None:
    with zipfile.ZipFile(ASSET) as archive:
        (tmp_path / "saved_model.pb").write_bytes(archive.read("digits-cnn-tensorflow/saved_model.pb"))
    with pytest.raises(InputError, match="without the folder"):
        load(worker, tmp_path / "saved_model.pb")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signature": "predict"}, "has no signature 'predict'; it has serving_default"),
        ({"dtype": "float16"}, "not in float16"),
    ],
    ids=str,
)
def test_bad_options_are_told(worker: Worker, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(worker, ASSET, **options)


def test_an_unknown_tensor_is_told(worker: Worker, files: Path) -> None:
    with pytest.raises(InputError, match="no tensor 'probabilities'"):
        load(worker, files / "digits-cnn-tensorflow.pb", outputs=["probabilities"])


def test_threads_belong_to_the_process(environment: Environment) -> None:
    fresh = Worker("tensorflow", SERVING, environment, 120)
    try:
        facts = load(fresh, ASSET, threads=1)["framework"]
        assert (facts["threads"], facts["inter_op_threads"]) == (1, 1)
        with pytest.raises(InputError, match="can't change to 2 threads"):
            load(fresh, ASSET, threads=2)
    finally:
        fresh.close()


def test_one_evaluation_as_a_user_runs_it(environment: Environment, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "mlms", "run", "image_classification"]
    command = [
        *program,
        "--model",
        "digits-cnn-tensorflow",
        "--dataset",
        "digits-test",
        "--trace-level",
        "layer",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (run,) = found if isinstance(found, list) else [found]
    top1 = next(each for each in run["metrics"] if each["name"] == "top1")
    assert top1["value"] == pytest.approx(99.1111, abs=1e-3)
