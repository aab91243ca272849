"""Caffe and ONNX files in OpenCV itself."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
serving = pytest.importorskip("mlms_opencv.serving", reason="the plugin is not installed")

PLUGIN = Path(__file__).resolve().parents[1]
ROOT = PLUGIN.parents[1]
FOLDER = PLUGIN / "mlms_opencv/assets/models/digits"
PROTOTXT, CAFFEMODEL = FOLDER / "digits-cnn.prototxt", FOLDER / "digits-cnn.caffemodel"


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


@pytest.fixture(scope="module")
def export() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_digits", PLUGIN / "tools/export_digits.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model() -> Iterator[Any]:
    loaded = load_caffe()
    yield loaded
    loaded.close()


@contextmanager
def refused(pattern: str) -> Iterator[None]:
    """A ValueError whose message (its first argument, before the hint) has the pattern."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        yield
    assert re.search(pattern, caught.value.args[0], re.DOTALL), caught.value.args[0]


def told(shape: list[int | None], files: dict[str, str] | None = None, dtype: str = "float32") -> dict[str, Any]:
    return {"name": "net", "inputs": [{"name": "image", "dtype": dtype, "shape": shape}], "files": files or {}}


def load_caffe(prototxt: Path = PROTOTXT, caffemodel: Path = CAFFEMODEL, **options: Any) -> Any:
    return serving.load(told([1, 8, 8], {"prototxt": str(prototxt)}), str(caffemodel), "cpu", options)


def write_onnx(
    path: Path, nodes: list[Any], weights: dict[str, np.ndarray], takes: list[Any], gives: list[Any]
) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, outputs, **attributes) for kind, inputs, outputs, attributes in nodes],
        "net",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, takes)],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, gives)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_committed_files_are_what_the_tool_writes(
    export: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["export_digits.py", str(tmp_path)])
    export.main()
    for path in (PROTOTXT, CAFFEMODEL):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_caffe_gives_what_pytorch_gives(model: Any, images: np.ndarray, logits: np.ndarray) -> None:
    for size in (450, 1, 7, 1):
        outputs = model.predict({"image": images[:size]})
        assert list(outputs) == ["logits"]
        assert outputs["logits"].dtype == np.float32
        np.testing.assert_allclose(outputs["logits"], logits[:size], atol=1e-4)
    assert model.describe()["parameters"] == 38282


def test_outputs_stay_when_the_next_are_made(model: Any, images: np.ndarray) -> None:
    first = model.predict({"image": images[:1]})["logits"]
    kept = first.copy()
    model.predict({"image": images[1:2]})
    np.testing.assert_array_equal(first, kept)


def test_empty_batch_has_empty_outputs(model: Any, images: np.ndarray) -> None:
    assert model.predict({"image": images[:0]})["logits"].shape == (0, 10)


def test_onnx_gives_what_pytorch_gives(images: np.ndarray, logits: np.ndarray, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    stored = load_file(ROOT / "assets/models/digits/digits-cnn.safetensors")
    conv, dense = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"transB": 1}
    nodes = [
        ("Conv", ["image", "0.weight", "0.bias"], ["a"], conv),
        ("Relu", ["a"], ["b"], {}),
        ("Conv", ["b", "2.weight", "2.bias"], ["c"], conv),
        ("Relu", ["c"], ["d"], {}),
        ("MaxPool", ["d"], ["e"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", ["e"], ["f"], {}),
        ("Gemm", ["f", "6.weight", "6.bias"], ["g"], dense),
        ("Relu", ["g"], ["h"], {}),
        ("Gemm", ["h", "8.weight", "8.bias"], ["logits"], dense),
    ]
    path = write_onnx(tmp_path / "digits.onnx", nodes, stored, ["n", 1, 8, 8], ["n", 10])
    model = serving.load(told([1, 8, 8]), str(path), "cpu", {})
    for size in (450, 1, 7):
        np.testing.assert_allclose(model.predict({"image": images[:size]})["logits"], logits[:size], atol=1e-4)
    with model.observe("layer", {"image": images[:1]}) as watched:
        watched.predict({"image": images[:1]})
    layers = [span for span in watched.take()[0] if span[1] == "layer"]
    assert [span[4]["mlms.layer.type"] for span in layers].count("Convolution") == 2
    assert not any(span[0].startswith("onnx_node!") for span in layers)
    model.close()


def test_inputs_of_few_dimensions_are_no_images_with_channels(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((64, 10), dtype=np.float32)
    nodes = [("Flatten", ["image"], ["flat"], {}), ("MatMul", ["flat", "matrix"], ["logits"], {})]
    path = write_onnx(tmp_path / "linear.onnx", nodes, {"matrix": matrix}, ["n", 8, 8], ["n", 10])
    model = serving.load(told([8, 8]), str(path), "cpu", {})
    values = np.random.default_rng(1).standard_normal((5, 8, 8), dtype=np.float32)
    np.testing.assert_allclose(model.predict({"image": values})["logits"], values.reshape(5, 64) @ matrix, atol=1e-4)


@pytest.mark.parametrize(("fusion", "names"), [(True, 5), (False, 8)])
def test_layers_lie_one_after_the_other_in_forward(images: np.ndarray, fusion: bool, names: int) -> None:
    model = load_caffe(fusion=fusion)
    with model.observe("layer", {"image": images[:4]}) as watched:
        for size in (4, 2):
            watched.predict({"image": images[:size]})
        taken = watched.take()
    assert watched.take() == []
    for size, spans in zip((4, 2), taken, strict=True):
        forward = next(span for span in spans if span[0] == "forward")
        layers = [span for span in spans if span[1] == "layer"]
        assert len(layers) == names
        assert layers[0][4]["mlms.layer.output_shapes"] == [f"{size}x16x8x8"]
        ends = [forward[2], *(span[3] for span in layers)]
        assert [span[2] for span in layers] == ends[:-1]
        assert ends == sorted(ends)
        assert ends[-1] <= forward[3]


def test_level_framework_has_no_layers(model: Any, images: np.ndarray) -> None:
    with model.observe("framework", {"image": images[:1]}) as watched:
        watched.predict({"image": images[:1]})
    assert [span[:2] for span in watched.take()[0]] == [("setInput", "framework"), ("forward", "framework")]


def test_threads_predict_at_once(model: Any, images: np.ndarray, logits: np.ndarray) -> None:
    def predict(index: int) -> np.ndarray:
        return model.predict({"image": images[index : index + 1 + index % 3]})["logits"]

    with ThreadPoolExecutor(4) as pool:
        for index, found in enumerate(pool.map(predict, range(400))):
            np.testing.assert_allclose(found, logits[index : index + 1 + index % 3], atol=1e-4)


def test_no_more_than_some_nets_are_kept() -> None:
    made: list[object] = []

    def read() -> object:
        made.append(object())
        return made[-1]

    nets = serving.Nets(read)
    for _ in range(2):
        for size in range(20):
            nets.give(size, nets.take(size))
    assert len(made) == serving.HELD


def test_number_of_threads_is_put_back() -> None:
    before = cv2.getNumThreads()
    first, second = load_caffe(threads=1), load_caffe(threads=before + 1)
    assert cv2.getNumThreads() == before + 1
    second.close()
    assert cv2.getNumThreads() == 1
    first.close()
    first.close()
    assert cv2.getNumThreads() == before


def test_closed_model_refuses(images: np.ndarray) -> None:
    model = load_caffe()
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.predict({"image": images[:1]})


def test_pooling_rounds_up_as_in_caffe(export: ModuleType, tmp_path: Path) -> None:
    prototxt, caffemodel = tmp_path / "pool.prototxt", tmp_path / "pool.caffemodel"
    prototxt.write_text(
        'input: "image" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }\n'
        'layer { name: "pool" type: "Pooling" bottom: "image" top: "pool"'
        " pooling_param { pool: MAX kernel_size: 3 stride: 2 } }"
    )
    caffemodel.write_bytes(export.caffemodel("pool", []))
    values = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    found = load_caffe(prototxt, caffemodel).predict({"image": values})["pool"]
    assert found.shape == (1, 1, 4, 4)  # rounded down it would be 3 x 3
    assert found[0, 0, 3, 3] == 63


def test_wrong_shape_says_both(model: Any) -> None:
    with refused(r"'image' of 'net' has shape batchx1x8x8, not 2x1x9x8"):
        model.predict({"image": np.zeros((2, 1, 9, 8), np.float32)})


@pytest.mark.parametrize(
    ("network", "weights", "message"),
    [
        (b"not a net {{", None, "can't read 'net.prototxt' and 'net.caffemodel'"),
        (b"", None, "has no layers"),
        (("Pooling", "Poolong"), None, "can't make the network of 'net.caffemodel'.*Poolong"),
        (("num_output: 64", "num_output: 32"), None, "can't make the network of 'net.caffemodel'"),
        (None, b"\x00\x01garbage" * 100, "has no weights for the layer 'conv1'"),
        (None, b"", "has no weights for the layer 'conv1'"),
        (None, 1000, "can't read 'net.prototxt' and 'net.caffemodel'"),
    ],
)
def test_bad_caffe_files(network: Any, weights: Any, message: str, tmp_path: Path) -> None:
    text = PROTOTXT.read_bytes()
    if isinstance(network, tuple):
        network = text.replace(network[0].encode(), network[1].encode())
    if isinstance(weights, int):
        weights = CAFFEMODEL.read_bytes()[:weights]
    prototxt, caffemodel = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    prototxt.write_bytes(text if network is None else network)
    caffemodel.write_bytes(CAFFEMODEL.read_bytes() if weights is None else weights)
    with refused(message):
        load_caffe(prototxt, caffemodel)


def test_log_level_is_put_back() -> None:
    before = cv2.utils.logging.getLogLevel()
    load_caffe().close()
    assert cv2.utils.logging.getLogLevel() == before


def test_unknown_onnx_operator_is_named(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "net.onnx", [("Bernoulli", ["image"], ["logits"], {})], {}, ["n", 4], ["n", 4])
    with refused(r"'net.onnx'.*Bernoulli"):
        serving.load(told([4]), str(path), "cpu", {})


def test_bad_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x00\x01garbage" * 100)
    with refused(r"can't read 'net.onnx'"):
        serving.load(told([4]), str(path), "cpu", {})


def test_what_is_missing_is_said() -> None:
    with refused("not its network"):
        serving.load(told([1, 8, 8]), str(CAFFEMODEL), "cpu", {})
    with refused("no random weights"):
        serving.load(told([1, 8, 8]), None, "cpu", {})
    with refused(r"ends with neither \.caffemodel nor \.onnx"):
        serving.load(told([1, 8, 8]), "net.pb", "cpu", {})
    with refused("not in float16"):
        load_caffe(dtype="float16")


def test_opencv_5_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__version__", "5.0.0")
    with pytest.raises(ValueError, match=r"OpenCV 5\.0\.0.*Caffe") as caught:
        load_caffe()
    assert "<5" in caught.value.args[1]
