"""What mlms finds through the entry point. OpenVINO is imported when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "performance_hint": {
            "title": "Performance hint",
            "description": "What OpenVINO chooses streams and threads for.",
            "enum": ["LATENCY", "THROUGHPUT"],
            "default": "LATENCY",
        },
        "num_streams": {
            "title": "Streams",
            "description": "Inferences that run at the same time; they share the threads.",
            "type": "integer",
            "minimum": 1,
        },
        "inference_precision": {
            "title": "Inference precision",
            "description": "What floating-point operations compute in, in place of the manifest's dtype; 'dynamic' "
            "leaves it to OpenVINO.",
            "enum": ["f32", "f16", "bf16", "dynamic"],
        },
    },
}


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "OpenVINO IR, ONNX, TensorFlow Lite and Paddle models in OpenVINO, on CPUs and Intel's GPUs and NPUs."
    return [served("openvino", "mlms_openvino.serving", summary, levels=("layer",), options=OPTIONS)]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
