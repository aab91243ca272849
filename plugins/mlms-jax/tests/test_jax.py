"""Exported functions, factories and bad files, run in the environment of the framework asset."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from safetensors.torch import load_file

from mlms import api
from mlms.builtins.pytorch.models import digits_cnn
from mlms.environments.environment import Environment
from mlms.environments.store import provide
from mlms.errors import InputError, MlmsError
from mlms.progress import Silent
from mlms.serving.process import Worker

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "plugins/mlms-jax"
ASSET = PLUGIN / "mlms_jax/assets/models/digits/digits-cnn-jax.jaxexport"
SERVING = PLUGIN / "mlms_jax/serving"
MODEL = {
    "name": "digits",
    "inputs": [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}],
    "factory": None,
    "arguments": {},
    "seed": None,
    "files": {},
}

MAKE = """
import dataclasses, re, sys
import jax, jax.numpy as jnp
from jax import export
folder = sys.argv[1]
def write(name, function, *shapes, **options):
    open(f"{folder}/{name}", "wb").write(export.export(jax.jit(function), **options)(*shapes).serialize())
shape = jax.ShapeDtypeStruct
(batch,) = export.symbolic_shape("batch")
image = shape((batch, 1, 8, 8), jnp.float32)
write("cuda", lambda image: image, image, platforms=["cuda"])
write("four", lambda image: image, shape((4, 1, 8, 8), jnp.float32))
write("two", lambda a, b: a + b, image, image)
write("wide", lambda image: image, shape((batch, 3), jnp.float32))
write("tuple", lambda image: (image.astype(jnp.bfloat16), image.sum()[None] + jnp.zeros(image.shape[0])), image)
found = export.deserialize(bytearray(open(folder + "/digits-cnn-jax.jaxexport", "rb").read()))
# After its magic number, MLIR's bytecode has its version (twice, and one more), then who wrote it.
newest = rb"\\1" + bytes([0x7f]) + b"StableHLO_v9"
newer = re.sub(rb"^(ML.R).StableHLO_v\\d", newest, found.mlir_module_serialized, flags=re.DOTALL)
changes = {"convention": {"calling_convention_version": 99}, "stablehlo": {"mlir_module_serialized": newer}}
for name, change in changes.items():
    open(f"{folder}/{name}", "wb").write(dataclasses.replace(found, **change).serialize())
"""

FACTORY = """
import jax

class Linear:
    def __init__(self, classes):
        self.classes = classes
    def init(self, key, image):
        return {"params": {"dense": {"kernel": jax.random.normal(key, (image[0].size, self.classes))}}}
    def apply(self, variables, image):
        return image.reshape(len(image), -1) @ variables["params"]["dense"]["kernel"]
"""


@pytest.fixture(scope="module")
def environment() -> Environment:
    try:
        spec = api.load_catalog([]).framework("jax").environment
        return provide(spec, "jax", Silent())
    except MlmsError as error:
        pytest.skip(f"no environment with JAX: {error}")


@pytest.fixture(scope="module")
def files(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for command in ([PLUGIN / "tools/export_digits.py", folder], ["-c", MAKE, folder]):
        subprocess.run(
            [environment.interpreter, *command], check=True, stdout=subprocess.PIPE
        )  # what goes wrong there is seen
    return folder


@pytest.fixture(scope="module")
def worker(environment: Environment) -> Iterator[Worker]:
    started = Worker("jax", SERVING, environment, 120)
    yield started
    started.close()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((5, 1, 8, 8), np.float32)


def load(worker: Worker, weights: Path | None, model: Mapping[str, Any] = MODEL, **options: Any) -> Mapping[str, Any]:
    given = {"dtype": "float32", "threads": None, "packages": [], **options}
    path = None if weights is None else str(weights)
    reply: Mapping[str, Any] = worker.ask("load", model=dict(model), weights=path, device="cpu", options=given)["value"]
    return reply


def test_it_gives_pytorchs_logits_for_any_batch_size(worker: Worker, images: np.ndarray) -> None:
    import torch

    facts = load(worker, ASSET)["model"]
    assert facts == {"parameters": 38282, "size_bytes": 4 * 38282, "device": "cpu", "dtype": "float32"}
    model = digits_cnn().eval()
    model.load_state_dict(load_file(ROOT / "assets/models/digits/digits-cnn.safetensors"))
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    for size in (5, 1, 0):
        logits = worker.ask("predict", {"image": images[:size]})["outputs"]["logits"]
        np.testing.assert_allclose(logits, expected[:size], atol=1e-4)


def test_the_tool_makes_the_committed_file(environment: Environment, files: Path) -> None:
    if environment.packages["jax"] != "0.10.2":
        pytest.skip("the committed file was made with JAX 0.10.2")
    assert (files / ASSET.name).read_bytes() == ASSET.read_bytes()


def test_instructions_are_layers_within_the_prediction(worker: Worker, images: np.ndarray) -> None:
    load(worker, ASSET)
    worker.ask("predict", {"image": images})
    worker.ask("observe", {"image": images}, level="layer")
    worker.ask("predict_watched", {"image": images})
    with pytest.raises(MlmsError):
        worker.ask("predict_watched", {"image": images[:, 0]})  # which is no prediction of the two
    worker.ask("predict_watched", {"image": images})
    predictions = worker.ask("unobserve")["value"]
    assert len(predictions) == 2
    for (_, _, start, end, _), *spans in predictions:
        assert [name for name, level, *_ in spans if level == "framework"] == ["to device", "execute", "to host"]
        executed = next(span for span in spans if span[0] == "execute")
        layers = [span for span in spans if span[1] == "layer"]
        assert "convolution" in {attributes["mlms.layer.type"] for *_, attributes in layers}
        assert all(start <= begins < ends <= end for _, _, begins, ends, _ in spans)
        assert all(executed[2] <= span[2] and span[3] <= executed[3] for span in layers)


def test_flops(worker: Worker, images: np.ndarray) -> None:
    load(worker, ASSET)
    counted = worker.ask("call", {"image": images[:1]}, name="flops")["value"]
    dense = 2 * (512 * 64 + 64 * 10)
    convolved = 2 * (64 * 9 * 16 + 64 * 9 * 16 * 32)
    assert dense + 0.8 * convolved < counted < 1.05 * (dense + convolved)  # XLA leaves out what falls on padding


def test_outputs_without_names_and_of_other_types(worker: Worker, files: Path, images: np.ndarray) -> None:
    load(worker, files / "tuple")
    outputs = worker.ask("predict", {"image": images})["outputs"]
    assert {name: (array.dtype.str, array.shape) for name, array in outputs.items()} == {
        "output_0": ("<f4", (5, 1, 8, 8)),
        "output_1": ("<f4", (5,)),
    }


@pytest.mark.parametrize("weights", [True, False], ids=["weights", "random"])
def test_a_factory_of_an_allowed_package(
    environment: Environment, images: np.ndarray, tmp_path: Path, weights: bool
) -> None:
    # Standing in for a package that a framework asset of one's own would install beside JAX.
    serving = tmp_path / "serving"
    serving.mkdir()
    for file in SERVING.glob("*.py"):
        (serving / file.name).write_text(file.read_text())
    (serving / "linear.py").write_text(FACTORY)
    model = {**MODEL, "factory": "serving.linear:Linear", "arguments": {"classes": 10}, "seed": None if weights else 3}
    kernel = np.random.default_rng(1).random((64, 10), np.float32)
    save_file({"dense.kernel": kernel}, tmp_path / "linear.safetensors")
    started = Worker("jax", serving, environment, 120)
    try:
        with pytest.raises(InputError, match="in no package that the framework asset allows"):
            load(started, None, model)
        path = tmp_path / "linear.safetensors" if weights else None
        facts = load(started, path, model, packages=["serving.linear"])["model"]
        assert facts["parameters"] == 640
        found = started.ask("predict", {"image": images})["outputs"]["output"]
        if weights:
            np.testing.assert_allclose(found, images.reshape(5, -1) @ kernel, rtol=1e-5)
        assert found.shape == (5, 10)
    finally:
        started.close()


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
    with pytest.raises(InputError, match=rf"'image' is expected as float32 \(batch, 1, 8, 8\), {given}"):
        worker.ask("predict", {"image": image})


def test_a_fixed_batch_is_told(worker: Worker, files: Path, images: np.ndarray) -> None:
    load(worker, files / "four")
    with pytest.raises(InputError, match=r"expected as float32 \(4, 1, 8, 8\), given as float32 \(5, 1, 8, 8\)"):
        worker.ask("predict", {"image": images})
    assert worker.ask("predict", {"image": images[:0]})["outputs"]["output"].shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda", "cuda was exported for cuda, not for cpu"),
        ("two", "two takes 2 inputs, its asset has 1"),
        ("wide", r"takes 'image' as float32 \(batch, 3\), its asset has it as float32 \(any, 1, 8, 8\)"),
    ],
)
def test_a_function_that_does_not_fit_is_told(worker: Worker, files: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(worker, files / name)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"not a model", ASSET.read_bytes()[:1000]], ids=["empty", "text", "cut"])
def test_a_file_of_another_format_is_told(worker: Worker, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match=r"file (is no function exported by jax\.export|holds)"):
        load(worker, tmp_path / "file")


def test_random_weights_need_a_factory(worker: Worker) -> None:
    with pytest.raises(InputError, match="has its weights within"):
        load(worker, None, {**MODEL, "seed": 0})


def test_another_precision_is_told(worker: Worker) -> None:
    with pytest.raises(InputError, match="not in float16"):
        load(worker, ASSET, dtype="float16")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("convention", r"has calling convention version 99, JAX [\d.]+ knows \d+ at most"),
        ("stablehlo", r"holds StableHLO_v9\.\S+, which JAX [\d.]+ can't read"),
    ],
)
def test_too_new_a_version_is_told(worker: Worker, files: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(worker, files / name)
    assert "requirements" in str(caught.value.hint)
