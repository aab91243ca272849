"""The framework: a model at a server, once what the server says of it agrees with the asset."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlms.errors import DeviceError, InputError
from mlms.manifests.types import ModelAsset, TensorSpec
from mlms_openinference.predictor import RemoteModel, RemotePredictor
from mlms_openinference.server import Server
from mlms_openinference.tensors import DATATYPES

SPANS = "mlms_spans"
"""The extension that mlms's own agent names: it gives its spans."""


class OpenInference:
    """Models behind a server of the Open Inference Protocol v2."""

    levels: tuple[str, ...] = ("application", "model", "framework", "layer")

    def __init__(self) -> None:
        self._facts: dict[str, Any] = {}

    def load(self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]) -> RemotePredictor:
        """Ask the server whether it has the model, and whether it takes what the asset says.

        Raises:
            InputError: it hasn't, it doesn't, or an option is wrong.
            ModelError: it can't be reached.
        """
        name = model.framework.name
        _check_settings(name, model, weights, device, options)
        server = Server(name, options["url"], options)
        try:
            remote = _ask_about(server, model, options)
        except BaseException:
            server.close()
            raise
        self._facts = {"server": remote.server_name, "server_version": remote.server_version, "url": server.url}
        return RemotePredictor(model, server, remote)

    def describe(self) -> Mapping[str, Any]:
        """The client's version, and name, version and URL of the server."""
        return {"version": importlib.metadata.version("tritonclient"), **self._facts}


def _check_settings(
    framework: str, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]
) -> None:
    about = f"framework '{framework}'"
    if "url" not in options:
        raise InputError(
            f"{about} needs to know where model '{model.name}' is served",
            hint="write framework: {name: openinference, url: 'grpc://host:port'} in the model asset",
        )
    if weights is not None or model.source.weights.random:
        raise InputError(
            f"{about} can't give '{model.name}' other weights: they are the server's", hint="leave weights out"
        )
    if device not in ("auto", "cpu"):
        raise DeviceError(f"{about} can't choose a device: that is the server's", hint="use device auto")
    for option, default in (("dtype", "float32"), ("threads", None)):
        if options.get(option) != default:
            raise InputError(f"{about} can't choose {option}: that is the server's", hint=f"leave {option} out")


def _ask_about(server: Server, model: ModelAsset, options: Mapping[str, Any]) -> RemoteModel:
    client = server.client
    name, version = options.get("model", model.name), options.get("model_version", "")
    if not server.ask(client.is_server_live) or not server.ask(client.is_server_ready):
        raise InputError(f"{server.about} is not ready", hint="wait until it has loaded its models")
    if not server.ask(client.is_model_ready, name, version):
        raise InputError(
            f"{server.about} has no model '{name}'{f' in version {version}' if version else ''} that is ready",
            hint="load it there, or give its name there in the option model",
        )
    about_server = server.ask(client.get_server_metadata)
    metadata = server.ask(client.get_model_metadata, name, version)
    datatypes = _compare(server, name, model.input, metadata.inputs)
    told = {output.name: (output.datatype, tuple(output.shape)) for output in metadata.outputs}
    outputs = tuple(options.get("outputs", ()))
    if told and (unknown := [output for output in outputs if output not in told]):
        raise InputError(
            f"{server.about}: model '{name}' has no output '{unknown[0]}'", hint=f"it has {', '.join(told)}"
        )
    return RemoteModel(
        name=name,
        version=version,
        datatypes=datatypes,
        outputs=outputs,
        told=told,
        gives_spans=SPANS in about_server.extensions,
        server_name=about_server.name,
        server_version=about_server.version,
        platform=metadata.platform,
    )


def _compare(server: Server, name: str, inputs: Sequence[TensorSpec], told: Sequence[Any]) -> dict[str, str]:
    """The datatype of each input, as both sides have it. A server that says nothing of its inputs is believed."""
    wanted = {spec.name: (DATATYPES[spec.dtype], (None, *spec.shape)) for spec in inputs}
    found = {tensor.name: (tensor.datatype, tuple(tensor.shape)) for tensor in told}
    agree = wanted.keys() == found.keys() and all(
        datatype == found[input_][0] and _same_shape(shape, found[input_][1])
        for input_, (datatype, shape) in wanted.items()
    )
    if found and not agree:
        raise InputError(
            f"{server.about} takes {_shown(found)} for model '{name}', but the asset says {_shown(wanted)}",
            hint="make the asset's input what the server takes, or name another model in the option model",
        )
    return {input_: datatype for input_, (datatype, _) in wanted.items()}


def _same_shape(wanted: Sequence[int | None], found: Sequence[int]) -> bool:
    """Whether they fit with the batch first; -1 and None are free."""
    return len(wanted) == len(found) and all(
        ours is None or theirs in (-1, ours) for ours, theirs in zip(wanted, found, strict=True)
    )


def _shown(tensors: Mapping[str, tuple[str, Sequence[int | None]]]) -> str:
    return ", ".join(
        f"'{name}' {datatype} [{', '.join('any' if length in (None, -1) else str(length) for length in shape)}]"
        for name, (datatype, shape) in tensors.items()
    )
