"""An agent, called with the official client of the Open Inference Protocol."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from fakes.certificates import self_signed
from fakes.program import command, mlms
from mlms import api
from mlms.agents import protocol
from mlms.agents.server import Endpoint

MODEL = "digits-cnn"
FREE_PORT = Endpoint(port=0)
SAMPLES = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)


def tensor(array: Any = SAMPLES, name: str = "image", datatype: str = "FP32") -> triton.InferInput:
    return triton.InferInput(name, array.shape, datatype).set_data_from_numpy(array)


def client(url: str, **options: Any) -> triton.InferenceServerClient:
    scheme, _, rest = url.partition("://")
    return triton.InferenceServerClient(f"unix:{rest}" if scheme == "unix" else rest, **options)


@contextmanager
def agent(endpoint: Endpoint = FREE_PORT, **options: Any) -> Iterator[str]:
    with api.serve([MODEL], endpoint, **options) as url:
        yield url


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with agent() as url:
        yield url


@pytest.fixture
def caller(url: str) -> Iterator[triton.InferenceServerClient]:
    with client(url) as found:
        yield found


def test_health_and_metadata(caller: triton.InferenceServerClient, url: str) -> None:
    assert caller.is_server_live()
    assert caller.is_server_ready()
    assert caller.is_model_ready(MODEL)
    server = caller.get_server_metadata()
    assert (server.name, server.version) == ("mlms", "")
    assert "model_repository" in server.extensions
    model = caller.get_model_metadata(MODEL)
    assert (model.name, model.platform, list(model.versions)) == (MODEL, "mlms", ["1.0.0"])
    assert [(each.name, each.datatype, list(each.shape)) for each in model.inputs] == [("image", "FP32", [-1, 1, 8, 8])]
    assert [(each.name, each.datatype, list(each.shape)) for each in model.outputs] == [("output", "FP32", [-1, 10])]
    with grpc.insecure_channel(url.partition("://")[2]) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert protocol.CLASSES["HealthCheckResponse"].FromString(check(b"")).status == 1


def expected(samples: Any = SAMPLES) -> Any:
    import torch
    from safetensors.torch import load_file

    from mlms.builtins.pytorch.models import digits_cnn
    from mlms.manifests.catalog import shipped_assets

    network = digits_cnn()
    network.load_state_dict(load_file(shipped_assets() / "models/digits/digits-cnn.safetensors"))
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(samples)).numpy()


def test_answers_are_the_models(caller: triton.InferenceServerClient) -> None:
    for samples in (SAMPLES, SAMPLES[:1], SAMPLES[:0]):
        answer = caller.infer(MODEL, [tensor(samples)], request_id="7")
        assert answer.get_response().id == "7"
        np.testing.assert_allclose(answer.as_numpy("output"), expected(samples), atol=1e-5)
    chosen = caller.infer(MODEL, [tensor()], model_version="1.0.0", outputs=[triton.InferRequestedOutput("output")])
    assert chosen.as_numpy("output").shape == (3, 10)


def test_lists_of_values_are_taken_too(url: str) -> None:
    message = protocol.new("ModelInferRequest", model_name=MODEL)
    contents = protocol.new("InferTensorContents", fp32_contents=SAMPLES.ravel().tolist())
    described = {"name": "image", "datatype": "FP32", "shape": SAMPLES.shape}
    message.inputs.append(protocol.CLASSES["InferInputTensor"](contents=contents, **described))
    with grpc.insecure_channel(url.partition("://")[2]) as channel:
        infer = channel.unary_unary(f"/{protocol.SERVICE}/ModelInfer")
        answer = protocol.CLASSES["ModelInferResponse"].FromString(infer(message.SerializeToString()))
        found = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(3, 10)
        np.testing.assert_allclose(found, expected(), atol=1e-5)
        with pytest.raises(grpc.RpcError) as refused:
            infer(b"\xff\xff")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (("other", [tensor()]), "NOT_FOUND", "no model 'other' here; there is digits-cnn"),
        ((MODEL, [tensor()], "9"), "NOT_FOUND", "no version '9' here; there is 1.0.0"),
        ((MODEL, [tensor(SAMPLES[:, 0])]), "INVALID_ARGUMENT", "is FP32 [batch, 1, 8, 8], not FP32 [3, 8, 8]"),
        (
            (MODEL, [tensor(SAMPLES.astype(np.float64), datatype="FP64")]),
            "INVALID_ARGUMENT",
            "is FP32 [batch, 1, 8, 8], not FP64 [3, 1, 8, 8]",
        ),
        ((MODEL, [tensor(name="picture")]), "INVALID_ARGUMENT", "'picture' is none of its inputs: model 'digits-cnn'"),
        ((MODEL, [tensor(), tensor()]), "INVALID_ARGUMENT", "'image' is given twice"),
        ((MODEL, []), "INVALID_ARGUMENT", "input 'image' is missing"),
        ((MODEL, [tensor()], "", [triton.InferRequestedOutput("x")]), "INVALID_ARGUMENT", "it has output"),
    ],
)
def test_bad_requests_say_what_is_expected(
    caller: triton.InferenceServerClient, request_: tuple[Any, ...], code: str, said: str
) -> None:
    with pytest.raises(InferenceServerException) as refused:
        caller.infer(*request_)
    assert refused.value.status() == f"StatusCode.{code}"
    assert said in refused.value.message()
    assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)


def test_spans_come_with_the_answer(caller: triton.InferenceServerClient) -> None:
    def spans(level: str) -> Any:
        answer = caller.infer(
            MODEL,
            [tensor()],
            parameters={"mlms_trace_level": level},
            headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"},
        )
        return json.loads(answer.get_response().parameters["mlms_spans"].string_param)

    told = spans("framework")
    assert (told["trace_id"], told["parent_id"]) == ("a" * 32, "b" * 16)
    assert [span[0] for span in told["spans"]] == ["decode", "predict", "encode"]
    times = [time for _, _, start, end, _ in told["spans"] for time in (start, end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= told["duration_ns"]
    for _ in range(2):
        layers = [span for span in spans("layer")["spans"] if span[1] == "layer"]
        assert [span[4]["mlms.layer.type"] for span in layers][:2] == ["Conv2d", "ReLU"]
        assert len(layers) == 9
    assert "mlms_spans" not in caller.infer(MODEL, [tensor()]).get_response().parameters
    with pytest.raises(InferenceServerException, match="mlms_trace_level is one of"):
        spans("deep")


def test_load_and_unload(caller: triton.InferenceServerClient) -> None:
    assert [(m.name, m.state) for m in caller.get_model_repository_index().models] == [(MODEL, "READY")]
    caller.unload_model(MODEL)
    caller.unload_model(MODEL)
    assert not caller.is_model_ready(MODEL)
    assert caller.is_server_ready()
    with pytest.raises(InferenceServerException, match="not ready: unloaded"):
        caller.infer(MODEL, [tensor()])
    with pytest.raises(InferenceServerException, match="there is no model 'alexnet' here"):
        caller.load_model("alexnet")
    with pytest.raises(InferenceServerException, match="give no parameters"):
        caller.load_model(MODEL, config="{}")
    caller.load_model(MODEL)
    caller.load_model(MODEL)
    assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)


def test_concurrent_callers_and_reloads(url: str) -> None:
    """Each gets its own answer, while others trace and the model is loaded anew."""
    wrong: list[str] = []

    def call(seed: int) -> None:
        samples = np.random.default_rng(seed).random((2, 1, 8, 8), np.float32)
        right = expected(samples)
        level = {"mlms_trace_level": "layer"} if seed % 3 == 0 else None
        with client(url) as own:
            for _ in range(10):
                try:
                    found = own.infer(MODEL, [tensor(samples)], parameters=level).as_numpy("output")
                    np.testing.assert_allclose(found, right, atol=1e-5)
                except (AssertionError, InferenceServerException) as error:
                    wrong.append(f"caller {seed}: {error}")

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    with client(url) as other:
        other.load_model(MODEL)
    for thread in threads:
        thread.join()
    assert wrong == []


def test_20_mb_tensors(caller: triton.InferenceServerClient) -> None:
    samples = np.zeros((82_000, 1, 8, 8), np.float32)  # 21 MB
    samples[-1] = SAMPLES[0]
    answer = caller.infer(MODEL, [tensor(samples)]).as_numpy("output")
    assert answer.shape == (82_000, 10)
    np.testing.assert_allclose(answer[-1], expected(SAMPLES[:1])[0], atol=1e-5)


def test_requests_over_the_bound_are_refused() -> None:
    with agent(Endpoint(port=0, max_message_mib=1)) as url, client(url) as caller:
        with pytest.raises(InferenceServerException, match="larger than max") as refused:
            caller.infer(MODEL, [tensor(np.zeros((5000, 1, 8, 8), np.float32))])
        assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
        assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)


def test_tls_and_token(tmp_path: Path) -> None:
    key, certificate = self_signed(tmp_path)
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    endpoint = Endpoint(port=0, tls=(certificate, key), token_file=token)
    with (
        agent(endpoint) as url,
        client(url, ssl=True, root_certificates=str(certificate)) as caller,
        client(url, ssl=True) as doubting,
    ):
        assert url.startswith("grpcs://")
        allowed = {"authorization": "Bearer s3cret"}
        assert caller.infer(MODEL, [tensor()], headers=allowed).as_numpy("output").shape == (3, 10)
        for headers, said in ((None, "a token is needed"), ({"authorization": "Bearer s3cres"}, "the token is wrong")):
            with pytest.raises(InferenceServerException, match=said) as refused:
                caller.infer(MODEL, [tensor()], headers=headers)
            assert refused.value.status() == "StatusCode.UNAUTHENTICATED"
        with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
            doubting.is_server_live()


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    with agent(Endpoint(path=path)) as url, client(url) as caller:
        assert path.stat().st_mode & 0o777 == 0o600
        assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)
        refused = mlms("agent", "serve", MODEL, "--socket", path)
        assert (refused.code, "another program listens" in refused.err) == (2, True)
    assert not path.exists()


def test_nothing_is_disclosed_unless_asked_for() -> None:
    def properties(url: str) -> Any:
        with grpc.insecure_channel(url.partition("://")[2]) as channel:
            ask = channel.unary_unary(f"/{protocol.SERVICE}/ModelMetadata")
            answer = ask(protocol.new("ModelMetadataRequest", name=MODEL).SerializeToString())
        return protocol.CLASSES["ModelMetadataResponse"].FromString(answer)

    with agent() as url:
        assert (properties(url).platform, list(properties(url).properties)) == ("mlms", [])
    with agent(disclose=True) as url:
        told = properties(url)
        facts = {each.key: each.value for each in told.properties}
    assert told.platform == facts["framework"] == "pytorch"
    assert {"framework_version", "mlms_version", "cpu"} <= set(facts)
    assert not any(socket.gethostname() in value or "/" in value for key, value in facts.items() if key != "os")


def test_failures_of_a_model_tell_callers_no_more_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlms.executor.loading import LoadedModel

    log: list[str] = []
    with agent(log=log.append) as url, client(url) as caller:

        def fail(self: LoadedModel, batch: Any) -> Any:
            from mlms.errors import ModelError

            raise ModelError("/secret/path broke")

        with monkeypatch.context() as patch:
            patch.setattr(LoadedModel, "predict", fail)
            with pytest.raises(InferenceServerException) as refused:
                caller.infer(MODEL, [tensor()])
        assert refused.value.status() == "StatusCode.INTERNAL"
        assert "secret" not in refused.value.message()
        assert log == [f"model '{MODEL}' failed: /secret/path broke"]
        assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)


def test_a_model_whose_worker_died_is_loaded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlms.errors import ProcessError
    from mlms.executor.loading import LoadedModel

    def die(self: LoadedModel, batch: Any) -> Any:
        raise ProcessError("the worker of framework 'pytorch' was ended by SIGKILL")

    with agent() as url, client(url) as caller:
        with monkeypatch.context() as patch:
            patch.setattr(LoadedModel, "predict", die)
            with pytest.raises(InferenceServerException, match="the worker process of model 'digits-cnn' ended"):
                caller.infer(MODEL, [tensor()])
        (entry,) = caller.get_model_repository_index().models
        assert (entry.state, "load it anew" in entry.reason) == ("UNAVAILABLE", True)
        caller.load_model(MODEL)
        assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits-cnn", "--host", "0.0.0.0"], "give --tls-cert, --tls-key and --token-file"),
        (["digits-cnn", "--host", "0.0.0.0", "--token-file", "t"], "so TLS and a token are needed"),
        (["digits-cnn", "--tls-cert", "c"], "give both --tls-cert and --tls-key"),
        (["digits-cnn", "--tls-cert", "c", "--tls-key", "k"], "there is no file c"),
        (["digits-cnn", "--token-file", "missing"], "the token file missing can't be read"),
        (["digits-cnn", "--token-file", "empty"], "empty holds no token"),
        (["digits-cnn", "--socket", "empty"], "is there, and no socket"),
        (["digits-cnn", "--socket", "x" * 120], "too long for a Unix socket"),
        ([], "there is no model to serve"),
        (["digits-cn", "--port", "0"], "error: there is no model 'digits-cn'"),
        (["digits-cnn", "digits-cnn@1.0.0"], "named in two versions"),
    ],
)
def test_bad_settings_are_refused(arguments: list[str], said: str) -> None:
    Path("empty").touch()
    refused = mlms("agent", "serve", *arguments)
    assert refused.code == 2
    assert said in refused.err


def test_a_port_in_use_is_refused(url: str) -> None:
    refused = mlms("agent", "serve", MODEL, "--port", url.rpartition(":")[2])
    assert (refused.code, "it is in use" in refused.err) == (2, True)


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        command("agent", "serve", *arguments, "--port", "0", "--json"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_until_it_is_ended(ending: signal.Signals) -> None:
    with program(MODEL) as (process, ready):
        assert (ready["models"], ready["pid"]) == ([MODEL], process.pid)
        killed = [sys.executable, "-c", KILLED_CALLER, ready["url"].partition("://")[2]]
        assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
        with client(ready["url"]) as caller:
            assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)
        os.kill(process.pid, ending)
        assert process.wait(30) == 0


KILLED_CALLER = """
import os, signal, sys, threading
import numpy as np, tritonclient.grpc as triton
caller = triton.InferenceServerClient(sys.argv[1])
samples = np.zeros((50_000, 1, 8, 8), np.float32)
sent = triton.InferInput("image", samples.shape, "FP32").set_data_from_numpy(samples)
caller.async_infer("digits-cnn", [sent], lambda result, error: None)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_models_of_the_catalog_are_loaded_on_demand() -> None:
    with program("--all") as (_, ready), client(ready["url"]) as caller:
        assert ready["models"] == []
        listed = {entry.name: entry.state for entry in caller.get_model_repository_index().models}
        assert listed[MODEL] == "UNAVAILABLE"
        assert len(listed) > 50
        caller.load_model(MODEL)
        assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)
        assert [entry.name for entry in caller.get_model_repository_index().models if entry.state == "READY"] == [MODEL]


def test_a_deadline_passes_without_harm(caller: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="Deadline"):
        caller.infer(MODEL, [tensor(np.zeros((50_000, 1, 8, 8), np.float32))], client_timeout=0.005)
    time.sleep(0.1)
    assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)


def test_a_worker_that_dies_while_it_is_observed_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlms.agents import hosting
    from mlms.errors import ProcessError
    from mlms.executor.loading import LoadedModel

    def gone(*_: object) -> None:
        raise ProcessError("the worker of framework 'pytorch' was ended by SIGKILL")

    with agent() as url, client(url) as caller:
        caller.infer(MODEL, [tensor()], parameters={"mlms_trace_level": "layer"})
        closed: list[object] = []
        with monkeypatch.context() as patch:
            patch.setattr(hosting._Watching, "predict", gone)
            patch.setattr(hosting._Watching, "close", gone)
            patch.setattr(LoadedModel, "__exit__", lambda self, *_: closed.append(self))
            with pytest.raises(InferenceServerException, match="the worker process of model 'digits-cnn' ended"):
                caller.infer(MODEL, [tensor()], parameters={"mlms_trace_level": "layer"})
        assert len(closed) == 1
        assert not caller.is_model_ready(MODEL)
        caller.load_model(MODEL)
        assert caller.infer(MODEL, [tensor()]).as_numpy("output").shape == (3, 10)
