"""What mlms finds through the entry point. OpenCV is imported when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "fusion": {
            "title": "Fusion",
            "description": "Whether OpenCV runs layers such as a convolution and its activation as one.",
            "type": "boolean",
            "default": True,
        },
        "winograd": {
            "title": "Winograd",
            "description": "Whether 3 x 3 convolutions may be computed by Winograd's algorithm.",
            "type": "boolean",
            "default": True,
        },
    },
}


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "Runs Caffe and ONNX models in OpenCV's DNN module."
    return [served("opencv", "mlms_opencv.serving", summary, levels=("framework", "layer"), options=OPTIONS)]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
