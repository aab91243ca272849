"""What it costs that a model runs in a worker in an environment of its own, beside the same model in this process.

ONNX Runtime runs digits-cnn (one image) and a ResNet-18 of random weights (32 images of 3 x 224 x 224) in this process,
in a worker, behind mlms's own agent and behind MLServer, both asked over gRPC on loopback. They take turns, round after
round; each round gives medians of neighbouring predictions, and a cost is the median over the rounds of a place's
figure less (or by) this process's. Needs the plugins mlms-onnxruntime and mlms-openinference; makes the environments on
first use.
"""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np
from claims import Claim, conclude, options, table

from mlms import api
from mlms.environments.store import provide
from mlms.hooks import Context
from mlms.manifests.types import EnvironmentSpec, ModelAsset, Requirement, Source, TensorSpec, Weights
from mlms.progress import Silent

PLACES = ("this process", "a worker", "mlms's agent", "MLServer")
WARM_UP = 3
RUNTIME = """
import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Onnx(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.settings.parameters.extra["threads"]
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload):
        (inputs,) = payload.inputs
        (outputs,) = self.session.run(None, {inputs.name: NumpyCodec.decode_input(inputs)})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", outputs)])
"""
MLSERVER = ("mlserver==1.7.1", "setuptools<81")  # it imports pkg_resources, which setuptools dropped


def main() -> int:
    given = options(__doc__, repeats=16)
    threads = len(os.sched_getaffinity(0))
    with TemporaryDirectory(prefix="mlms-agent-") as name:
        folder = Path(name)
        digits = measure(folder, digits_asset(), 1, 100, given.repeats, 1)
        resnet = measure(folder, resnet_asset(folder), 32, 2, max(4, given.repeats // 2), threads)
    rows = []
    for model, times in (("digits-cnn, 1 image", digits), ("ResNet-18, 32 images", resnet)):
        for place in PLACES:
            extra = added(times, place) / 1e3
            rows.append([f"{model}: {place}", f"{median(times[place]) / 1e3:,.0f}", f"{extra:,.0f}"])
    table(["", "prediction µs", "more than here µs"], rows)
    relative = median(there / here for there, here in zip(resnet["a worker"], resnet["this process"], strict=True))
    return conclude(
        [
            Claim("digits-cnn: a worker's overhead", added(digits, "a worker") / 1e6, 0.3, "ms"),
            Claim("digits-cnn: ... by MLServer's", added(digits, "a worker") / added(digits, "MLServer"), 1, "×"),
            Claim("ResNet-18, 32 images: a worker by this process", relative, 1.05, "×"),
            Claim(
                "digits-cnn: our agent's ... by MLServer's",
                added(digits, PLACES[2]) / added(digits, "MLServer"),
                1,
                "×",
            ),
        ]
    )


def added(times: dict[str, list[float]], place: str) -> float:
    """Nanoseconds that a prediction takes more than in this process."""
    return median(there - here for there, here in zip(times[place], times["this process"], strict=True))


def measure(
    folder: Path, asset: ModelAsset, batch: int, repeats: int, rounds: int, threads: int
) -> dict[str, list[float]]:
    """Medians of each round's predictions at every place, ns."""
    spec = asset.input[0]
    inputs = {spec.name: np.random.default_rng(0).standard_normal((batch, *spec.shape), dtype=np.float32)}  # type: ignore[arg-type]
    times: dict[str, list[float]] = {place: [] for place in PLACES}
    with ExitStack() as stack:
        predictors = {place: stack.enter_context(opened(place, folder, asset, threads)) for place in PLACES}
        expected = next(iter(predictors["this process"](inputs).values()))
        for place, predict in predictors.items():
            for _ in range(WARM_UP):
                answered = next(iter(predict(inputs).values()))
            if not np.allclose(answered, expected, atol=1e-3, rtol=1e-3):
                raise RuntimeError(f"{place} answers something else than this process")
        for number in range(rounds):
            turn = number // 2 % len(PLACES)  # each comes after each other as often: what ran before leaves its mark
            order = [(place, predictors[place]) for place in PLACES[turn:] + PLACES[:turn]]
            for place, predict in order if number % 2 == 0 else reversed(order):
                times[place].append(median(timed(predict, inputs) for _ in range(repeats)))
    return times


def timed(predict: Callable[[Any], Any], inputs: Any) -> int:
    start = perf_counter_ns()
    predict(inputs)
    return perf_counter_ns() - start


def digits_asset() -> ModelAsset:
    return api.load_catalog().model("digits-cnn-onnxruntime")


def resnet_asset(folder: Path) -> ModelAsset:
    import torch
    import torchvision

    torch.manual_seed(0)
    module = torchvision.models.resnet18(weights=None).eval()
    names = {"input_names": ["image"], "output_names": ["output"]}
    axes = {"image": {0: "batch"}, "output": {0: "batch"}}
    path = folder / "resnet18.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is called legacy
        torch.onnx.export(module, (torch.zeros(2, 3, 224, 224),), path, dynamo=False, dynamic_axes=axes, **names)
    return ModelAsset(
        name="resnet18-onnx",
        version="1.0.0",
        file=None,
        task="image_classification",
        framework=Requirement("onnxruntime"),
        source=Source(None, {}, Weights(file=path)),
        input=(TensorSpec("image", "float32", (3, 224, 224)),),
    )


@contextmanager
def opened(place: str, folder: Path, asset: ModelAsset, threads: int) -> Iterator[Callable[[Any], Any]]:
    """``predict`` of the model at one of the places."""
    if place in ("this process", "a worker"):
        environment = None
        if place == "a worker":
            spec = EnvironmentSpec("venv", None, (pinned("onnxruntime"), pinned("onnx")))
            environment = provide(spec, "onnxruntime", Silent())
        context = Context(labels=lambda name: (), environment=environment)
        framework = api.load_plugins().frameworks.get("onnxruntime").component.make({}, context)
        told: dict[str, Any] = {"dtype": "float32", "threads": threads, "packages": [], "files": {}}
        predictor = framework.load(asset, asset.source.weights.file, "cpu", told)
        try:
            yield predictor.predict
        finally:
            predictor.close()
        return
    serve = served_by_agent if place == "mlms's agent" else served_by_mlserver
    with serve(folder, asset, threads) as (url, name):
        remote = api.load_plugins().frameworks.get("openinference").component.make({}, Context(labels=lambda name: ()))
        named = ModelAsset(
            name=asset.name,
            version=asset.version,
            file=None,
            task=asset.task,
            framework=Requirement("openinference", url=url),
            source=Source(None, {}, Weights()),
            input=asset.input,
        )
        predictor = remote.load(named, None, "auto", {"url": url, "model": name, "dtype": "float32", "threads": None})
        try:
            yield predictor.predict
        finally:
            predictor.close()


def pinned(distribution: str) -> str:
    return f"{distribution}=={importlib.metadata.version(distribution)}"


@contextmanager
def served_by_agent(folder: Path, asset: ModelAsset, threads: int) -> Iterator[tuple[str, str]]:
    """The URL of an agent of ours that hosts the model, and its name there."""
    assets = folder / "assets"
    (assets / "models").mkdir(parents=True, exist_ok=True)
    name = f"{asset.name}-served"
    (assets / "models" / f"{name}.onnx").write_bytes(weights_of(asset).read_bytes())
    document = {
        "kind": "model",
        "name": name,
        "task": asset.task,
        "framework": "onnxruntime",
        "source": {"weights": {"file": f"{name}.onnx"}},
        "input": [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in asset.input],
    }
    (assets / "models" / f"{name}.yaml").write_text(json.dumps(document))
    command = [sys.executable, "-m", "mlms", "agent", "serve", name, "--assets", str(assets), "--port", "0", "--json"]
    with running([*command, "--quiet"], folder / "agent.log", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], name


@contextmanager
def served_by_mlserver(folder: Path, asset: ModelAsset, threads: int) -> Iterator[tuple[str, str]]:
    """The same of an MLServer that runs the model in ONNX Runtime."""
    environment = provide(EnvironmentSpec("venv", None, (*MLSERVER, pinned("onnxruntime"))), "mlserver", Silent())
    ports = [free_port() for _ in range(3)]
    settings: dict[str, Any] = {"parallel_workers": 0, "host": "127.0.0.1", "grpc_max_message_length": 1 << 28}
    settings |= dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    spec = asset.input[0]
    model = {
        "name": asset.name,
        "implementation": "runtime.Onnx",
        "parameters": {"uri": str(weights_of(asset).resolve()), "extra": {"threads": threads}},
        "inputs": [{"name": spec.name, "datatype": "FP32", "shape": [-1, *(length or -1 for length in spec.shape)]}],
    }
    place = folder / f"mlserver-{asset.name}"
    place.mkdir()
    (place / "runtime.py").write_text(RUNTIME)
    (place / "settings.json").write_text(json.dumps(settings))
    (place / "model-settings.json").write_text(json.dumps(model))
    command = [str(environment.interpreter), "-m", "mlserver.cli.main", "start", str(place)]
    with running(command, place / "log", cwd=place) as process:
        await_ready(process, ports[1], asset.name, place / "log")
        yield f"grpc://127.0.0.1:{ports[1]}", asset.name


@contextmanager
def running(command: Sequence[str], log: Path, **settings: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server for as long as the context is open; what it prints goes to ``log``."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with log.open("wb") as file:
        process = subprocess.Popen(command, **{"stdout": file, "stderr": file, "env": variables, **settings})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def await_ready(process: subprocess.Popen[bytes], port: int, model: str, log: Path) -> None:
    import tritonclient.grpc as triton

    deadline = time.monotonic() + 120
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.is_server_ready() and client.is_model_ready(model):
                    return
            except triton.InferenceServerException:
                pass  # it isn't listening yet
            time.sleep(0.2)
    raise RuntimeError(f"MLServer didn't get ready:\n{log.read_text()[-3000:]}")


def weights_of(asset: ModelAsset) -> Path:
    assert asset.source.weights.file is not None
    return asset.source.weights.file


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(main())
