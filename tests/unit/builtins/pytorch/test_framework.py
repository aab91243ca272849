from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from mlms.builtins.pytorch import COMPONENT
from mlms.errors import DeviceError, InputError, ModelError
from mlms.hooks import Context, Framework, Predictor

torch = pytest.importorskip("torch")
from fakes.model_assets import torch_model  # noqa: E402 (after importorskip)
from fakes.torch_factories import linear  # noqa: E402

IMAGES = {"image": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}


def framework() -> Framework:
    return COMPONENT.make({}, Context(labels=lambda name: ()))


def load(factory: str, weights: Path | None = None, device: str = "cpu", **options: Any) -> Predictor:
    file = {"file": weights} if weights else {}
    return framework().load(torch_model(factory, **file), weights, device, {"packages": ["fakes"], **options})


def test_it_keeps_its_protocols() -> None:
    assert isinstance(framework(), Framework)
    assert isinstance(load("linear"), Predictor)
    assert framework().levels == ("application", "model", "framework", "layer", "operator", "library")


def test_registering_imports_no_torch() -> None:
    code = "import sys, mlms.builtins.pytorch; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        ({}, True),
        ({"channels_last": True, "compile": True, "deterministic": False}, True),
        ({"compile": {"mode": "reduce-overhead", "fullgraph": True, "dynamic": False}}, True),
        ({"compile": {"mode": "fast"}}, False),
        ({"compile": "yes"}, False),
        ({"channels_first": True}, False),
    ],
)
def test_options_are_checked_by_their_schema(options: dict[str, Any], fits: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(COMPONENT.options)
    assert jsonschema.Draft202012Validator(COMPONENT.options).is_valid(options) is fits


def test_weights_are_loaded(tmp_path: Path) -> None:
    source = linear().eval()
    torch.save(source.state_dict(), tmp_path / "net.pth")
    outputs = load("linear", tmp_path / "net.pth").predict(IMAGES)
    with torch.inference_mode():
        expected = source(torch.from_numpy(IMAGES["image"])).numpy()
    np.testing.assert_array_equal(outputs["output"], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_inputs_and_weights_take_the_dtype(dtype: str) -> None:
    predictor = load("linear", dtype=dtype)
    outputs = predictor.predict(IMAGES)["output"]
    assert predictor.describe()["dtype"] == dtype
    assert str(outputs.dtype) == ("float32" if dtype == "bfloat16" else dtype)
    np.testing.assert_allclose(outputs, load("linear").predict(IMAGES)["output"], atol=2e-2)


def test_an_unknown_dtype() -> None:
    with pytest.raises(InputError, match="int8") as caught:
        load("linear", dtype="int8")
    assert "bfloat16" in str(caught.value.hint)


def test_describe_counts() -> None:
    facts = load("Named").describe()
    assert facts["parameters"] == 6
    # 6 parameters, 6 running statistics of 4 bytes and a counter of 8.
    assert facts["size_bytes"] == 56
    assert facts["device"] == "cpu"
    assert (facts["compiled"], facts["channels_last"]) == (False, False)


def test_threads_last_until_close() -> None:
    before = torch.get_num_threads()
    predictor = load("linear", threads=before + 1)
    assert torch.get_num_threads() == before + 1
    predictor.close()
    assert torch.get_num_threads() == before
    predictor.close()


def test_threads_are_put_back_when_loading_fails() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ModelError):
        load("raising", threads=before + 1)
    assert torch.get_num_threads() == before


def test_determinism_lasts_until_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    predictor = load("linear", deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    predictor.close()
    assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch.save(linear(outputs=9).state_dict(), tmp_path / "net.pth")
    with pytest.raises(InputError, match="another shape"):
        load("linear", tmp_path / "net.pth")


def test_a_device_that_is_none() -> None:
    with pytest.raises(DeviceError, match="tpu"):
        load("linear", device="tpu")


def test_describe_tells_the_build() -> None:
    facts = framework().describe()
    assert facts["version"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert len(facts["gpus"]) == torch.cuda.device_count()
    assert "\n" not in facts["build"]
    if torch.version.cuda:
        assert f"CUDA {torch.version.cuda}" in facts["build"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpus_are_named() -> None:
    for gpu in framework().describe()["gpus"]:
        assert gpu["name"]
        assert gpu["memory_bytes"] > 1 << 28
        assert gpu["driver"][0].isdigit()
