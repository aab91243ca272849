"""The framework against MLServer, a server by somebody else, in an environment of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlms import api
from mlms.environments.store import provide
from mlms.errors import InputError
from mlms.manifests.catalog import shipped_assets
from mlms.manifests.types import EnvironmentSpec
from mlms.progress import Silent

REQUIREMENTS = ("mlserver==1.7.1", "setuptools<81", "scikit-learn>=1.4,<2")
"""MLServer imports pkg_resources, which setuptools dropped in 81."""

RUNTIME = '''
import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from sklearn.neighbors import KNeighborsClassifier


class Digits(MLModel):
    """A scikit-learn classifier fitted as it is loaded."""

    async def load(self):
        with np.load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples.npz")) as stored:
            self.model = KNeighborsClassifier(1).fit(stored["values"] / 16, stored["labels"])
        return True

    async def predict(self, payload):
        values = NumpyCodec.decode_input(payload.inputs[0])
        scores = self.model.predict_proba(values.reshape(len(values), -1)).astype(np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
'''

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an MLServer that has the model "digits"."""
    try:
        environment = provide(EnvironmentSpec("venv", None, REQUIREMENTS), "mlserver", Silent())
    except InputError as error:
        if not any(word in str(error).lower() for word in ("connect", "network", "resolve host", "dns", "timed out")):
            raise
        pytest.skip(f"the package registry can't be reached: {error}")
    folder = tmp_path_factory.mktemp("mlserver")
    ports = [_free_port() for _ in range(3)]
    settings = {"parallel_workers": 0, "host": "127.0.0.1"}
    settings |= dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    model = {
        "name": "digits",
        "implementation": "runtime.Digits",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 10]}],
    }
    (folder / "runtime.py").write_text(RUNTIME)
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    with np.load(shipped_assets() / "datasets/digits/test.npz") as digits:
        values, labels = (digits[name] for name in ("images", "labels"))
        np.savez(folder / "samples.npz", values=values.reshape(len(values), -1), labels=labels)
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [environment.interpreter, "-m", "mlserver.cli.main", "start", folder]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=variables, cwd=folder)
    try:
        _await(process, ports[1], folder / "log")
        yield f"grpc://127.0.0.1:{ports[1]}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import tritonclient.grpc as triton

    deadline = time.monotonic() + 120
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.is_server_ready() and client.is_model_ready("digits"):
                    return
            except triton.InferenceServerException:
                pass  # it isn't listening yet
            time.sleep(0.2)
    pytest.fail(f"MLServer didn't get ready:\n{log.read_text()[-3000:]}")


def manifest(url: str, shape: list[int | None], **options: Any) -> dict[str, Any]:
    return {
        "kind": "manifest",
        "name": "mlserver",
        "model": {
            "name": "digits-mlserver",
            "task": "image_classification",
            "framework": {"name": "openinference", "url": url},
            "input": [{"name": "image", "dtype": "float32", "shape": shape}],
            "preprocess": [{"reshape": {"shape": shape}}, {"rescale": {"factor": "1/16"}}],
            "postprocess": ["softmax", {"top_k": {"k": 5, "labels": "digits"}}],
            "options": {"model": "digits", **options},
        },
        "dataset": "digits-test",
        "batch_size": 2,
        "scenario": {"min_queries": 8, "min_duration": "200ms"},
        "trace": "framework",
    }


def test_a_scikit_learn_model_at_mlserver(server: str, tmp_path: Path) -> None:
    results = api.evaluate(manifest(server, [1, 8, 8]), settings=api.Settings(output=tmp_path))
    (run,) = results.raise_for_failures()
    assert run.metrics["top1"] == 100  # it was fitted to these samples
    assert run.record["framework"]["describe"]["server"] == "mlserver"
    assert {"encode_request", "wait", "decode_response"} <= set(run.spans["name"])


def test_a_shape_that_disagrees_with_mlserver(server: str, tmp_path: Path) -> None:
    (failure,) = api.evaluate(manifest(server, [8, 8]), settings=api.Settings(output=tmp_path)).failures
    said = "takes 'image' FP32 [any, 1, 8, 8] for model 'digits', but the asset says 'image' FP32 [any, 8, 8]"
    assert said in str(failure.error)


def test_a_model_that_mlserver_lacks(server: str, tmp_path: Path) -> None:
    (failure,) = api.evaluate(
        manifest(server, [1, 8, 8], model="other"), settings=api.Settings(output=tmp_path)
    ).failures
    assert "other" in str(failure.error)
    assert server in str(failure.error)
