"""All that a plugin author reads: ``types`` (Protocols and values), ``specs`` (the hooks)."""

from mlms.hooks.specs import hookimpl
from mlms.hooks.types import (
    Batch,
    Classification,
    Component,
    Context,
    Dataset,
    Framework,
    Metric,
    Outputs,
    Predictor,
    Processor,
    Sample,
    Task,
)

__all__ = [
    "Batch",
    "Classification",
    "Component",
    "Context",
    "Dataset",
    "Framework",
    "Metric",
    "Outputs",
    "Predictor",
    "Processor",
    "Sample",
    "Task",
    "hookimpl",
]
