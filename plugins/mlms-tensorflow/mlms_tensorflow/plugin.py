"""What mlms finds through the entry point. TensorFlow is imported in the worker only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "signature": {
            "title": "Signature",
            "description": "The signature of a SavedModel that is run.",
            "type": "string",
            "minLength": 1,
            "default": "serving_default",
        },
        "inputs": {
            "title": "Inputs",
            "description": "The tensors of a frozen graph that take the model's inputs, in their order ('image:0'). "
            "Its placeholders, if not given.",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
        },
        "outputs": {
            "title": "Outputs",
            "description": "The tensors of a frozen graph that are its outputs ('logits:0'). Those that nothing in the "
            "graph takes, if not given.",
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
        },
        "jit_compile": {
            "title": "Compile with XLA",
            "description": "Whether the model is compiled by XLA, anew for each batch size.",
            "type": "boolean",
            "default": False,
        },
        "freeze": {
            "title": "Freeze",
            "description": "Whether variables are made constants, which lets TensorFlow fold them; up to 2 GB of them.",
            "type": "boolean",
            "default": False,
        },
        "inter_op_threads": {
            "title": "Inter-op threads",
            "description": "How many operations may run at once; as many as threads, if not given.",
            "type": "integer",
            "minimum": 1,
        },
    },
}


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "TensorFlow SavedModels, Keras models and frozen graphs."
    return [
        served("tensorflow", "mlms_tensorflow.serving", summary, levels=("framework", "layer"), options=OPTIONS),
    ]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
