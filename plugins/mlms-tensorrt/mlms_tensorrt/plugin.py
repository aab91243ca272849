"""What mlms finds through the entry point."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "fp16": {
            "title": "FP16",
            "description": "Let TensorRT choose kernels in float16, as with dtype float16. For ONNX and TensorRT 10.",
            "type": "boolean",
            "default": False,
        },
        "tf32": {
            "title": "TF32",
            "description": "Let it multiply float32 with TF32's ten bits of mantissa.",
            "type": "boolean",
            "default": False,
        },
        "workspace_mib": {
            "title": "Workspace",
            "description": "MiB of the GPU's memory that a layer may use for itself.",
            "type": "integer",
            "minimum": 1,
            "default": 1024,
        },
        "max_batch": {
            "title": "Largest batch",
            "description": "The engine is built for batches from one to this.",
            "type": "integer",
            "minimum": 1,
            "default": 64,
        },
        "optimization_level": {
            "title": "Optimization level",
            "description": "How long TensorRT looks for fast kernels when it builds: 0 shortest, 5 longest.",
            "type": "integer",
            "minimum": 0,
            "maximum": 5,
            "default": 3,
        },
    },
}


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "NVIDIA TensorRT: ONNX and engines, on NVIDIA GPUs."
    return [served("tensorrt", "mlms_tensorrt.serving", summary, levels=("framework", "layer"), options=OPTIONS)]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
