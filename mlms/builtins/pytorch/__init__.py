"""The PyTorch framework. Nothing here imports torch until the component is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlms.hooks import Component, Context, Framework

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "channels_last": {
            "type": "boolean",
            "default": False,
            "description": "Lay images out with the channels last in memory, which many convolutions prefer.",
        },
        "compile": {
            "description": "Compile the model with torch.compile, with defaults or with these arguments of it.",
            "default": False,
            "oneOf": [
                {"type": "boolean"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "mode": {
                            "enum": ["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"],
                            "description": "What the compiler optimizes for.",
                        },
                        "fullgraph": {"type": "boolean", "description": "Fail rather than compile it in pieces."},
                        "dynamic": {"type": "boolean", "description": "Compile once for all batch sizes."},
                    },
                },
            ],
        },
        "deterministic": {
            "type": "boolean",
            "default": False,
            "description": "Allow only algorithms that give the same bits every time; the others raise.",
        },
    },
}


def _make(options: Mapping[str, Any], context: Context) -> Framework:
    from mlms.builtins.pytorch.framework import PyTorch

    return PyTorch()


COMPONENT: Component[Framework] = Component(
    name="pytorch", make=_make, summary="Runs PyTorch modules on CPU and CUDA devices.", options=OPTIONS
)
