"""What mlms finds through the entry point. The client library is imported when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlms.hooks import Component, Context, Framework, hookimpl

OPTIONS = {
    "type": "object",
    "properties": {
        "url": {
            "title": "URL",
            "description": "Where the model is served: grpc://host:port, grpcs://host:port (TLS) or unix:///path.",
            "type": "string",
            "pattern": "^(grpcs?|https?|unix)://\\S+$",
        },
        "model": {
            "title": "Model",
            "description": "The model's name at the server; else the asset's.",
            "type": "string",
            "minLength": 1,
        },
        "model_version": {
            "title": "Version",
            "description": "The model's version at the server; else the one that the server picks.",
            "type": "string",
            "minLength": 1,
        },
        "outputs": {
            "title": "Outputs",
            "description": "The outputs to ask for; else all.",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "uniqueItems": True,
        },
        "token_file": {
            "title": "Token file",
            "description": "A file with the token that is sent as 'authorization: Bearer TOKEN'.",
            "type": "string",
            "minLength": 1,
        },
        "ca_file": {
            "title": "CA file",
            "description": "A file of the certificates that the server's is checked with; else those of gRPC.",
            "type": "string",
            "minLength": 1,
        },
        "request_timeout": {
            "title": "Request timeout",
            "description": "So many seconds one request may take.",
            "type": "number",
            "exclusiveMinimum": 0,
            "default": 60,
        },
    },
    "additionalProperties": False,
}


def make(options: Mapping[str, Any], context: Context) -> Framework:
    from mlms_openinference.framework import OpenInference

    return OpenInference()


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    return [Component("openinference", make, "Models behind a server of the Open Inference Protocol v2.", OPTIONS)]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
