"""TensorFlow Lite files in LiteRT itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
serving = pytest.importorskip("mlms_litert.serving", reason="the plugin is not installed")


PLUGIN = Path(__file__).resolve().parents[1]
ROOT = PLUGIN.parents[1]
DIGITS = PLUGIN / "mlms_litert/assets/models/digits/digits-cnn.tflite"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(450, 1, 8, 8), from 0 to 1."""
    with np.load(ROOT / "assets/datasets/digits/test.npz") as stored:
        return (stored["images"].astype(np.float32) / 16)[:, None]


@pytest.fixture(scope="module")
def logits(images: np.ndarray) -> np.ndarray:
    """PyTorch's, (450, 10)."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from mlms.builtins.pytorch.models import digits_cnn

    network = digits_cnn().eval()
    network.load_state_dict(load_file(ROOT / "assets/models/digits/digits-cnn.safetensors"))
    with torch.inference_mode():
        return network(torch.from_numpy(images)).numpy()


@pytest.fixture
def model() -> Iterator[Any]:
    loaded = load()
    yield loaded
    loaded.close()


@contextmanager
def refused(pattern: str) -> Iterator[None]:
    """A ValueError whose message (its first argument, before the hint) has the pattern."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        yield
    assert re.search(pattern, caught.value.args[0], re.DOTALL), caught.value.args[0]


def told(*inputs: dict[str, Any]) -> dict[str, Any]:
    return {"name": "net", "inputs": list(inputs or [spec()]), "files": {}}


def spec(name: str = "image", dtype: str = "float32", shape: tuple[int | None, ...] = (1, 8, 8)) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def load(path: Path = DIGITS, **options: Any) -> Any:
    return serving.load(told(), str(path), "cpu", options)


def changed(folder: Path, change: Any) -> Path:
    """digits-cnn with something else in its flatbuffer."""
    flatbuffers = pytest.importorskip("flatbuffers")
    content = schema.ModelT.InitFromPackedBuf(DIGITS.read_bytes(), 0)
    change(content)
    builder = flatbuffers.Builder()
    builder.Finish(content.Pack(builder), b"TFL3")
    (folder / "net.tflite").write_bytes(builder.Output())
    return folder / "net.tflite"


@pytest.mark.parametrize("options", [{}, {"xnnpack": False}, {"threads": 2}])
def test_gives_what_pytorch_gives(options: dict[str, Any], images: np.ndarray, logits: np.ndarray) -> None:
    model = load(**options)
    for size in (450, 1, 7, 1):
        outputs = model.predict({"image": images[:size]})
        assert list(outputs) == ["logits"]
        assert outputs["logits"].dtype == np.float32
        np.testing.assert_allclose(outputs["logits"], logits[:size], atol=1e-4)
    assert serving.describe()["threads"] == options.get("threads", 1)
    model.close()


def test_what_is_said_of_the_model(model: Any) -> None:
    about = model.describe()
    assert (about["parameters"], about["size_bytes"]) == (38282, 4 * 38282)
    assert (about["dtype"], about["device"]) == ("float32", "cpu")


def test_outputs_stay_when_the_next_are_made(model: Any, images: np.ndarray) -> None:
    first = model.predict({"image": images[:1]})["logits"]
    kept = first.copy()
    model.predict({"image": images[1:2]})
    np.testing.assert_array_equal(first, kept)


def test_empty_batch_has_empty_outputs(model: Any, images: np.ndarray) -> None:
    assert model.predict({"image": images[:0]})["logits"].shape == (0, 10)


def test_free_dimensions_are_known_only_from_a_batch(images: np.ndarray) -> None:
    model = serving.load(told(spec(shape=(None, 8, None))), str(DIGITS), "cpu", {})
    assert model.predict({"image": images[:3]})["logits"].shape == (3, 10)
    with refused("empty batch"):
        model.predict({"image": images[:0]})


def test_threads_predict_at_once(model: Any, images: np.ndarray, logits: np.ndarray) -> None:
    def predict(index: int) -> np.ndarray:
        return model.predict({"image": images[index : index + 1 + index % 3]})["logits"]

    with ThreadPoolExecutor(4) as pool:
        for index, found in enumerate(pool.map(predict, range(400))):
            np.testing.assert_allclose(found, logits[index : index + 1 + index % 3], atol=1e-4)


def test_repeated_batch_sizes_allocate_nothing() -> None:
    made: list[object] = []
    allocated: list[int] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    kept = serving.Interpreters(make, lambda _, shapes: allocated.append(shapes))
    for size in [1, 2] * 5:
        kept.give(size, kept.take(size))
    assert allocated == [1, 2]
    for size in range(20):
        kept.give(size, kept.take(size))
    assert len(made) == serving.HELD


def test_phases_follow_each_other(model: Any, images: np.ndarray) -> None:
    with model.observe("framework", {"image": images[:4]}) as watched:
        for size in (4, 2):
            watched.predict({"image": images[:size]})
        taken = watched.take()
    assert watched.take() == []
    assert len(taken) == 2
    for spans in taken:
        assert [span[:2] for span in spans] == [
            (phase, "framework") for phase in ("set_tensor", "invoke", "get_tensor")
        ]
        times = [time for span in spans for time in span[2:4]]
        assert times == sorted(times)


def test_closed_model_refuses(images: np.ndarray) -> None:
    model = load()
    model.close()
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.predict({"image": images[:1]})


def test_wrong_shape_says_both(model: Any) -> None:
    with refused("'image' of 'net' has shape batchx1x8x8, not 2x1x9x8"):
        model.predict({"image": np.zeros((2, 1, 9, 8), np.float32)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"garbage" * 100, "'net.tflite' is no TensorFlow Lite model"),
        (b"", "'net.tflite' is no TensorFlow Lite model"),
        (DIGITS.read_bytes()[:1000], "can't read 'net.tflite'"),
    ],
)
def test_bad_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(content)
    with refused(message):
        load(path)


def test_operator_of_a_newer_version(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        code = next(
            code for code in content.operatorCodes if code.builtinCode == schema.BuiltinOperator.FULLY_CONNECTED
        )
        code.version = 99

    with refused("can't read 'net.tflite'.*FULLY_CONNECTED.*99"):
        load(changed(tmp_path, change))


def test_custom_operator(tmp_path: Path) -> None:
    def change(content: Any) -> None:
        code = content.operatorCodes[0]
        code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, b"Mine"

    with refused("'net.tflite'.*Mine"):
        load(changed(tmp_path, change))


def test_fixed_batch_size(tmp_path: Path, images: np.ndarray, logits: np.ndarray) -> None:
    def change(content: Any) -> None:
        graph = content.subgraphs[0]
        for tensor in graph.tensors:
            tensor.shapeSignature = None
        first = graph.tensors[graph.operators[0].inputs[1]]
        content.buffers[first.buffer].data = np.frombuffer(np.array([1, 8, 8, 1], np.int32).tobytes(), np.uint8)

    model = load(changed(tmp_path, change))
    np.testing.assert_allclose(model.predict({"image": images[:1]})["logits"], logits[:1], atol=1e-4)
    with refused(r"can't run 'net.tflite' on image 2x1x8x8"):
        model.predict({"image": images[:2]})


def test_inputs_are_the_file_s() -> None:
    serving.load(told(spec("picture")), str(DIGITS), "cpu", {}).close()
    with refused("float32 batchx1x8x8, not float32 batchx8x8x1"):
        serving.load(told(spec(shape=(8, 8, 1))), str(DIGITS), "cpu", {})
    with refused("float32 batchx1x8x8, not uint8"):
        serving.load(told(spec(dtype="uint8")), str(DIGITS), "cpu", {})
    with refused("takes image, and the model asset gives image, mask"):
        serving.load(told(spec(), spec("mask")), str(DIGITS), "cpu", {})


def test_what_is_missing_is_said() -> None:
    with refused("no random weights"):
        serving.load(told(), None, "cpu", {})
    with refused("not in float16"):
        load(dtype="float16")


def test_no_prediction_has_to_do_with_the_one_before(tmp_path: Path) -> None:
    """A recurrent network of one neuron, whose state is a variable tensor of the file."""
    flatbuffers = pytest.importorskip("flatbuffers")

    def tensor(name: str, shape: list[int], buffer: int = 0, variable: bool = False, free: bool = False) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.isVariable = name, shape, buffer, variable
        made.type, made.shapeSignature = schema.TensorType.FLOAT32, [-1, *shape[1:]] if free else None
        return made

    def buffer(*values: float) -> Any:
        made = schema.BufferT()
        made.data = np.frombuffer(np.array(values, np.float32).tobytes(), np.uint8) if values else None
        return made

    code, options, operator = schema.OperatorCodeT(), schema.SequenceRNNOptionsT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_RNN
    operator.inputs, operator.outputs = [0, 1, 2, 3, 4], [5]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.SequenceRNNOptions, options
    graph, file = schema.SubGraphT(), schema.ModelT()
    graph.tensors = [
        tensor("x", [1, 2, 1], free=True),
        *(tensor("input", [1, 1], 1), tensor("recurrent", [1, 1], 2), tensor("bias", [1], 3)),
        *(tensor("state", [1, 1], variable=True), tensor("y", [1, 2, 1], free=True)),
    ]
    graph.inputs, graph.outputs, graph.operators = [0], [5], [operator]
    file.version, file.operatorCodes, file.subgraphs = 3, [code], [graph]
    file.buffers = [buffer(), buffer(1.0), buffer(0.5), buffer(0.0)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), b"TFL3")
    (tmp_path / "rnn.tflite").write_bytes(builder.Output())

    model = serving.load(told(spec("x", shape=(2, 1))), str(tmp_path / "rnn.tflite"), "cpu", {"dtype": "float32"})
    batch = {"x": np.ones((1, 2, 1), np.float32)}
    for _ in range(3):
        (found,) = model.predict(batch).values()
        np.testing.assert_array_equal(found.ravel(), [1.0, 1.5])
    with model.observe("framework", batch) as watched:
        for _ in range(2):
            (found,) = watched.predict(batch).values()
            np.testing.assert_array_equal(found.ravel(), [1.0, 1.5])
    model.close()
