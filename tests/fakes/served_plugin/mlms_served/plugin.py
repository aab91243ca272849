"""The registration of the framework "served"."""

from __future__ import annotations

from collections.abc import Iterable

from mlms.hooks import Component, Framework, hookimpl, served

OPTIONS = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "load": {"enum": ["refuse", "memory", "die"]},
        "fail": {"enum": ["raise", "die", "hang"]},
        "fail_at": {"type": "integer"},
    },
}


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    return [served("served", "mlms_served.serving", "Linear models in NumPy.", levels=("layer",), options=OPTIONS)]
