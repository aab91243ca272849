"""What mlms finds through the entry point. ONNX Runtime is imported when a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "graph_optimization_level": {
            "title": "Graph optimization level",
            "description": "How far ONNX Runtime rewrites the graph before it runs.",
            "enum": ["disabled", "basic", "extended", "layout", "all"],
            "default": "all",
        },
        "execution_mode": {
            "title": "Execution mode",
            "description": "Whether independent nodes run one after the other or at the same time.",
            "enum": ["sequential", "parallel"],
            "default": "sequential",
        },
        "inter_op_threads": {
            "title": "Inter-op threads",
            "description": "Threads that run nodes at the same time, in execution mode 'parallel'.",
            "type": "integer",
            "minimum": 1,
        },
        "providers": {
            "title": "Execution providers",
            "description": "What nodes run on, the first that can; the CPU's comes last in any case. By default the "
            "device's own: CPUExecutionProvider or CUDAExecutionProvider.",
            "type": "array",
            "items": {"type": "string", "pattern": "^[A-Za-z0-9]+ExecutionProvider$"},
            "minItems": 1,
            "uniqueItems": True,
        },
        "provider_options": {
            "title": "Provider options",
            "description": "Options of execution providers, by the provider's name.",
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
        },
        "session_config": {
            "title": "Session configuration",
            "description": "ONNX Runtime's session configuration entries, such as session.intra_op.allow_spinning.",
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
    },
}


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "ONNX models in ONNX Runtime, on CPU and CUDA devices."
    return [
        served("onnxruntime", "mlms_onnxruntime.serving", summary, levels=("framework", "layer"), options=OPTIONS),
    ]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
