"""The methods of the Open Inference Protocol's gRPC service, and gRPC's health check, for a host of models."""

from __future__ import annotations

import contextlib
import functools
import hmac
import platform
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any

import grpc

import mlms
from mlms.agents import protocol
from mlms.agents.hosting import READY, Host, Refusal
from mlms.agents.inference import SPANS_PARAMETER, infer
from mlms.agents.tensors import NAMES
from mlms.errors import MlmsError

SERVING, NOT_SERVING = 1, 2
"""Of grpc.health.v1."""

Received = tuple[int, bytes]
"""When a request arrived (ns of ``perf_counter_ns``), and its bytes."""


class Service:
    """What the agent answers; ``ready`` is to be set once all models that it starts with are loaded."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.ready = False

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        methods = {
            "ServerLive": lambda request: protocol.new("ServerLiveResponse", live=True),
            "ServerReady": lambda request: protocol.new("ServerReadyResponse", ready=self.ready),
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        answering = {name: _handler(self._plain(name, function)) for name, function in methods.items()}
        answering["ModelInfer"] = _handler(self._infer)
        return [
            grpc.method_handlers_generic_handler(protocol.SERVICE, answering),
            grpc.method_handlers_generic_handler(protocol.HEALTH, {"Check": _handler(self._health)}),
        ]

    def _plain(self, method: str, function: Callable[[Any], Any]) -> Callable[[Received, Any], bytes]:
        def answer(received: Received, context: Any) -> bytes:
            with self._refusing(context):
                try:
                    request = protocol.parse(method, received[1])
                except ValueError as error:
                    raise Refusal("INVALID_ARGUMENT", str(error)) from None
                response: bytes = function(request).SerializeToString()
            return response

        return answer

    @contextlib.contextmanager
    def _refusing(self, context: Any) -> Any:
        """Turn a refusal into its status, and a bug into INTERNAL with no more said than that."""
        try:
            yield
        except Refusal as refusal:
            context.abort(getattr(grpc.StatusCode, refusal.code), refusal.message)
        except Exception as error:
            self._host.log(f"an error that is a bug of the agent: {type(error).__name__}: {error}")
            context.abort(grpc.StatusCode.INTERNAL, "the agent failed; its log says more")

    def _infer(self, received: Received, context: Any) -> bytes:
        with self._refusing(context):
            if not context.is_active():  # the caller went away, or its deadline passed, while others were answered
                raise Refusal("CANCELLED", "the caller is gone")
            response = infer(self._host, *received, _metadata(context))
        return response

    def _health(self, received: Received, context: Any) -> bytes:
        status = SERVING if self.ready else NOT_SERVING
        response: bytes = protocol.new("HealthCheckResponse", status=status).SerializeToString()
        return response

    def _model_ready(self, request: Any) -> Any:
        return protocol.new("ModelReadyResponse", ready=self._host.ready(request.name, request.version))

    def _server_metadata(self, request: Any) -> Any:
        version = mlms.__version__ if self._host.disclose else ""
        extensions = ["model_repository", SPANS_PARAMETER]
        return protocol.new("ServerMetadataResponse", name="mlms", version=version, extensions=extensions)

    def _model_metadata(self, request: Any) -> Any:
        hosted = self._host.hosted(request.name, request.version)
        inputs = [
            protocol.new(
                "TensorMetadata",
                name=spec.name,
                datatype=NAMES[spec.dtype],
                shape=[-1, *(-1 if length is None else length for length in spec.shape)],
            )
            for spec in hosted.inputs
        ]
        outputs = [
            protocol.new("TensorMetadata", name=spec.name, datatype=spec.datatype, shape=spec.shape)
            for spec in hosted.outputs
        ]
        facts = {**hosted.facts, **_machine()} if self._host.disclose else {}
        return protocol.new(
            "ModelMetadataResponse",
            name=hosted.name,
            versions=[hosted.version],
            platform=facts.get("framework", "mlms"),
            inputs=inputs,
            outputs=outputs,
            properties=[protocol.new("Property", key=key, value=value) for key, value in facts.items()],
        )

    def _index(self, request: Any) -> Any:
        models = [
            protocol.new("ModelIndex", name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
            for entry in self._host.listed
            if entry.state == READY or not request.ready
        ]
        return protocol.new("RepositoryIndexResponse", models=models)

    def _load(self, request: Any) -> Any:
        if request.parameters:
            raise Refusal("INVALID_ARGUMENT", "a model is loaded as the agent's catalog has it: give no parameters")
        try:
            self._host.load(request.model_name)
        except MlmsError as error:
            raise self._host.told_of_loading(request.model_name, error) from error
        return protocol.new("Empty")

    def _unload(self, request: Any) -> Any:
        self._host.unload(request.model_name)
        return protocol.new("Empty")


class TokenRequired(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without ``authorization: Bearer TOKEN``; gRPC's health check, which can't send one, is open."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._open = f"/{protocol.HEALTH}/Check"

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given.encode() if isinstance(given, str) else given
        # In constant time, so that an answer's time tells nothing of the token.
        if hmac.compare_digest(given, self._expected) or details.method == self._open:
            return continuation(details)
        reason = "the token is wrong" if given else "a token is needed: send the metadata 'authorization: Bearer TOKEN'"
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, reason)
        )


def _handler(function: Callable[[Received, Any], bytes]) -> Any:
    return grpc.unary_unary_rpc_method_handler(function, request_deserializer=lambda data: (perf_counter_ns(), data))


def _metadata(context: Any) -> Mapping[str, str]:
    return {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}


@functools.cache
def _machine() -> dict[str, str]:
    from mlms.runs.environment import describe_environment

    machine = describe_environment(())
    return {
        "mlms_version": mlms.__version__,
        "python_version": platform.python_version(),
        "cpu": str(machine["cpu"]["model"]),
        "cores": str(machine["cpu"]["cores_physical"] or machine["cpu"]["cores_logical"]),
        "memory_bytes": str(machine["memory_bytes"]),
        "os": f"{machine['os']['system']} {machine['os']['release']}",
        "gpus": ", ".join(str(gpu.get("name", gpu)) for gpu in machine["gpus"]) or "none",
    }
