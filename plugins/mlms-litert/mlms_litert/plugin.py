"""What mlms finds through the entry point. LiteRT is imported when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "xnnpack": {
            "title": "XNNPACK",
            "description": "Whether the XNNPACK delegate runs what it can; else LiteRT's own kernels run all.",
            "type": "boolean",
            "default": True,
        },
    },
}


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "Runs TensorFlow Lite models (.tflite) in LiteRT."
    return [served("litert", "mlms_litert.serving", summary, levels=("framework",), options=OPTIONS)]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
