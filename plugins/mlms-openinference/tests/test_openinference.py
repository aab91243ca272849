"""The framework against mlms's own agent, and against servers that answer wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from mlms_openinference.framework import OpenInference
from mlms_openinference.spans import Remote, placed
from mlms_openinference.tensors import array_of
from tritonclient.grpc import service_pb2, service_pb2_grpc

import mlms
from mlms import api
from mlms.agents.server import Endpoint
from mlms.errors import DeviceError, InputError, ModelError
from mlms.manifests.types import ModelAsset, Requirement, Source, TensorSpec, Weights
from mlms.tracing.recorder import Recorder
from mlms.tracing.reported import Reports

DIGITS = {
    "name": "digits-served",
    "task": "image_classification",
    "input": [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}],
    "preprocess": [{"reshape": {"shape": [1, 8, 8]}}, {"rescale": {"factor": "1/16"}}],
    "postprocess": ["softmax", {"top_k": {"k": 5, "labels": "digits"}}],
    "options": {"model": "digits-cnn"},
}
QUICK = {"min_queries": 8, "min_duration": "200ms"}
SAMPLES = np.zeros((2, 1, 8, 8), np.float32)


def asset(url: str, seed: int | None = None) -> ModelAsset:
    return ModelAsset(
        "digits-cnn",
        "1.0.0",
        None,
        task="image_classification",
        framework=Requirement("openinference", "", url),
        source=Source(None, {}, Weights(seed=seed)),
        input=(TensorSpec("image", "float32", (1, 8, 8)),),
    )


def load(url: str, device: str = "auto", seed: int | None = None, **options: Any) -> Any:
    rest = {"url": url, "dtype": "float32", "threads": None, "packages": [], "files": {}}
    return OpenInference().load(asset(url, seed), None, device, {**rest, "request_timeout": 5, **options})


def evaluate(folder: Path, url: str, level: str = "model", **options: Any) -> mlms.Run:
    model = {**DIGITS, "framework": {"name": "openinference", "url": url}}
    model["options"] = {**model["options"], **options}
    manifest = {"kind": "manifest", "name": "served", "model": model, "dataset": "digits-test", "device": "cpu"}
    manifest |= {"scenario": QUICK, "warmup": 2, "trace": level}
    return api.evaluate(manifest, settings=api.Settings(output=folder)).raise_for_failures()[0]


@pytest.fixture(scope="module")
def agent() -> Iterator[str]:
    with api.serve(["digits-cnn"], Endpoint(port=0)) as url:
        yield url


def test_accuracy_is_the_models_own(agent: str, tmp_path: Path) -> None:
    run = evaluate(tmp_path, agent)
    assert run.metrics["top1"] == pytest.approx(99.1111, abs=1e-4)
    assert run.metrics["top5"] == 100
    assert run.record["model"]["weights"]["origin"] == "served"
    assert run.record["evaluation"]["options"]["url"] == agent


def test_one_trace_covers_both_sides(agent: str, tmp_path: Path) -> None:
    spans = evaluate(tmp_path, agent, "layer").spans.to_dicts()
    by_id = {span["span_id"]: span for span in spans}
    assert len({span["trace_id"] for span in spans}) == 1

    def above(span: Mapping[str, Any]) -> list[str]:
        names = []
        while (span := by_id.get(span["parent_id"])) is not None:  # type: ignore[assignment]
            names.append(span["name"])
        return names

    layers = [span for span in spans if span["level"] == "layer"]
    path = ["forward", "predict", "agent", "wait", "predict digits-served"]
    assert len(layers) % 9 == 0
    assert layers
    assert all(above(span)[:5] == path for span in layers)
    assert {"encode_request", "wait", "decode_response", "decode", "encode"} <= {span["name"] for span in spans}
    for span in spans:
        parent = by_id.get(span["parent_id"])
        if parent is not None and span["level"] in ("framework", "layer"):
            assert parent["start_ns"] <= span["start_ns"] <= span["end_ns"] <= parent["end_ns"]


def test_the_agents_time_lies_in_the_middle_of_the_wait() -> None:
    told = json.dumps({"duration_ns": 40, "spans": [["predict", "framework", 10, 30, {}]]})
    remote = Remote.read(told)
    assert remote is not None
    agent, predict = placed(remote, 1000, 1100)
    assert (agent.start_ns, agent.end_ns) == (1030, 1070)
    assert (predict.start_ns, predict.end_ns) == (1040, 1060)


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{}",
        "[1]",
        '{"duration_ns": 1, "spans": [[1]]}',
        '{"duration_ns": 1e400, "spans": []}',
        '{"duration_ns": 1, "spans": [["a", "layer", 0, 1, [5]]]}',
        "[" * 100_000,
    ],
    ids=range(7),
)
def test_what_can_not_be_read_says_nothing(told: str) -> None:
    assert Remote.read(told) is None


def test_of_what_an_agent_tells_only_what_a_span_can_have_is_kept() -> None:
    bad = {"huge": 2**63, "nested": [[1]], "mapping": {}, "thread.id": "main", "null": None}
    good = {"least": -(2**63), "names": ["a"], "share": 0.5, "on": True}
    spans = [["a", "layer", 0, 10**30, {**good, **bad}], ["b", "no-level", 0, 1, {}], ["c", 5, 0, 1, {}]]
    remote = Remote.read(json.dumps({"duration_ns": 10**30, "spans": spans}))
    assert remote is not None
    assert remote.spans == [("a", "layer", 0, 10**30, good)]
    recorder = Recorder(Path())
    reports = Reports(recorder, recorder.intern("predict", "model"))
    reports.add(1000, 1100, placed(remote, 1000, 1100))
    reports.flush()


def test_a_token_goes_over_no_network_without_tls(tmp_path: Path) -> None:
    token = str(_written(tmp_path / "token", "s3cret"))
    with pytest.raises(InputError, match=r"anyone on the way to grpc://inference\.example:8001 could read the token"):
        load("grpc://inference.example:8001", token_file=token)


def test_unix_socket_and_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret")
    with api.serve(["digits-cnn"], Endpoint(path=tmp_path / "agent", token_file=token)) as url:
        for options in ({}, {"token_file": str(_written(tmp_path / "wrong", "other"))}):
            with pytest.raises(InputError, match=r"framework 'openinference': the server at unix:.*token") as refused:
                load(url, **options)
            assert "token_file" in str(refused.value.hint)
        model = load(url, token_file=str(token))
        assert model.predict({"image": SAMPLES})["output"].shape == (2, 10)
        model.close()
        model.close()


def test_tls(tmp_path: Path) -> None:
    key, certificate = _certificate(tmp_path)
    with api.serve(["digits-cnn"], Endpoint(port=0, tls=(certificate, key))) as url:
        assert load(url, ca_file=str(certificate)).predict({"image": SAMPLES})["output"].shape == (2, 10)
        with pytest.raises(ModelError, match="can't be reached"):
            load(url)


@pytest.mark.parametrize(
    ("options", "kind", "said", "hint"),
    [
        ({"model": "other"}, InputError, "doesn't have the model: there is no model 'other' here", "options model"),
        ({"model_version": "9"}, InputError, "no version '9'", "model_version"),
        ({"outputs": ["boxes"]}, InputError, "no output 'boxes'", "it has output"),
        ({"device": "cuda"}, DeviceError, "can't choose a device", "auto"),
        ({"threads": 2}, InputError, "can't choose threads", "leave threads out"),
        ({"dtype": "float16"}, InputError, "can't choose dtype", "leave dtype out"),
        ({"seed": 0}, InputError, "other weights: they are the server's", "leave weights out"),
        ({"token_file": "missing"}, InputError, "the token_file missing can't be read", "token_file"),
        ({"ca_file": "missing"}, InputError, "ca_file is for TLS", "grpcs"),
        ({"url": "http://localhost:1"}, InputError, "speaks gRPC, and http://localhost:1 is HTTP", "gRPC port"),
        ({"url": "grpc://localhost"}, InputError, "names no host and port", "grpc://host:8001"),
        ({"url": "grpc://localhost:1"}, ModelError, "can't be reached", "is it running there"),
    ],
)
def test_bad_settings(agent: str, options: dict[str, Any], kind: type[Exception], said: str, hint: str) -> None:
    url = options.pop("url", agent)
    with pytest.raises(kind) as refused:
        load(url, **options)
    assert said in str(refused.value)
    assert hint in str(refused.value.hint)  # type: ignore[attr-defined]


class Fake(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A server whose every answer a test may change."""

    def __init__(self) -> None:
        self.inputs = [("image", "FP32", [-1, 1, 8, 8])]
        self.infer: Callable[[Any, Any], Any] = lambda request, context: self.answer([2, 10])

    def answer(self, shape: list[int], datatype: str = "FP32", name: str = "scores", raw: bytes | None = None) -> Any:
        response = service_pb2.ModelInferResponse(model_name="digits-cnn")
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(bytes(4 * int(np.prod(shape))) if raw is None else raw)
        return response

    def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=True)

    def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=True)

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="fake", version="1")

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        response = service_pb2.ModelMetadataResponse(name="digits-cnn", platform="fake")
        for name, datatype, shape in self.inputs:
            response.inputs.add(name=name, datatype=datatype, shape=shape)
        response.outputs.add(name="scores", datatype="FP32", shape=[-1, 10])
        return response

    def ModelInfer(self, request: Any, context: Any) -> Any:
        return self.infer(request, context)


@contextmanager
def running(fake: Fake) -> Iterator[tuple[str, grpc.Server]]:
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"grpc://127.0.0.1:{port}", server
    server.stop(None)


@pytest.mark.parametrize(
    "inputs",
    [
        [("image", "FP64", [-1, 1, 8, 8])],
        [("image", "BF16", [-1, 1, 8, 8])],
        [("image", "FP32", [-1, 8, 8])],
        [("image", "FP32", [-1, 3, 8, 8])],
        [("picture", "FP32", [-1, 1, 8, 8])],
        [("image", "FP32", [-1, 1, 8, 8]), ("mask", "BOOL", [-1, 8])],
    ],
)
def test_metadata_that_disagree_show_both_sides(inputs: list[tuple[str, str, list[int]]]) -> None:
    fake = Fake()
    fake.inputs = inputs
    with running(fake) as (url, _), pytest.raises(InputError) as refused:
        load(url)
    shown = f"takes '{inputs[0][0]}' {inputs[0][1]} [any, "
    assert shown in refused.value.message
    assert "but the asset says 'image' FP32 [any, 1, 8, 8]" in refused.value.message


def test_metadata_without_inputs_are_taken() -> None:
    fake = Fake()
    fake.inputs = []
    with running(fake) as (url, _):
        assert load(url).predict({"image": SAMPLES})["scores"].shape == (2, 10)


def test_bfloat16_and_texts_are_read() -> None:
    halves = (np.arange(20, dtype=np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    tensor = service_pb2.ModelInferResponse.InferOutputTensor
    np.testing.assert_array_equal(
        array_of(tensor(datatype="BF16", shape=[20]), halves), np.arange(20, dtype=np.float32)
    )
    assert array_of(tensor(datatype="BYTES", shape=[2]), b"\1\0\0\0a\0\0\0\0").tolist() == [b"a", b""]
    with pytest.raises(ValueError, match="no datatype 'FP8'"):
        array_of(tensor(datatype="FP8", shape=[1]), b"a")


def test_lists_of_values_are_read() -> None:
    fake = Fake()

    def infer(request: Any, context: Any) -> Any:
        response = service_pb2.ModelInferResponse()
        response.outputs.add(name="scores", datatype="FP32", shape=[2, 10]).contents.fp32_contents.extend(range(20))
        return response

    fake.infer = infer
    with running(fake) as (url, _):
        np.testing.assert_array_equal(load(url).predict({"image": SAMPLES})["scores"], np.arange(20.0).reshape(2, 10))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"shape": [1, 10]}, r"is FP32 \[1, 10\], and FP32 \[2, 10\] is expected"),
        ({"shape": [2, 9]}, r"is FP32 \[2, 9\], and FP32 \[2, 10\] is expected"),
        ({"shape": [20]}, r"is FP32 \[20\]"),
        ({"shape": [2, 10], "datatype": "INT32"}, r"is INT32 \[2, 10\], and FP32 \[2, 10\] is expected"),
        ({"shape": [2, 10], "name": "boxes"}, "'scores' is missing"),
        ({"shape": [2, 10], "raw": b"1234"}, "is not what it says it is"),
    ],
)
def test_wrong_answers_are_errors(answer: dict[str, Any], said: str) -> None:
    fake = Fake()
    fake.infer = lambda request, context: fake.answer(**answer)
    with running(fake) as (url, _), pytest.raises(ModelError, match=said) as failed:
        load(url).predict({"image": SAMPLES})
    assert url in failed.value.message
    assert "metadata" in str(failed.value.hint)


def test_a_server_that_goes_or_hangs_is_an_error() -> None:
    fake = Fake()
    with running(fake) as (url, server):
        model = load(url, request_timeout=0.5)
        assert model.predict({"image": SAMPLES})["scores"].shape == (2, 10)

        def hang(request: Any, context: Any) -> Any:
            import time

            time.sleep(1)

        fake.infer = hang
        with pytest.raises(ModelError, match=r"gave no answer in time \(0.5 s\)") as failed:
            model.predict({"image": SAMPLES})
        assert "request_timeout" in str(failed.value.hint)
        server.stop(None).wait()
        with pytest.raises(ModelError, match=rf"{url} can't be reached") as failed:
            model.predict({"image": SAMPLES})


def test_other_servers_are_asked_for_no_spans(tmp_path: Path) -> None:
    fake = Fake()
    seen: list[Any] = []

    def infer(request: Any, context: Any) -> Any:
        seen.append((dict(request.parameters), dict(context.invocation_metadata()).get("traceparent")))
        return fake.answer([request.inputs[0].shape[0], 10])

    fake.infer = infer
    with running(fake) as (url, _):
        run = evaluate(tmp_path, url, "layer")
    assert all(parameters == {} for parameters, _ in seen)
    trace_id = run.spans["trace_id"][0]
    assert {parent.split("-")[1] for _, parent in seen} == {trace_id}
    assert any("gives none of its own" in warning for warning in run.record["warnings"])
    assert {"encode_request", "wait", "decode_response"} <= set(run.spans["name"])


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Files of a key and its self-signed certificate for 127.0.0.1."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = ["openssl", *request.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", made]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl program")
    return key, made


def test_the_plugin_imports_no_client_until_a_model_is_loaded() -> None:
    program = "import sys, mlms_openinference.plugin; sys.exit('tritonclient' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
