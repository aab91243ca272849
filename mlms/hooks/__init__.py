"""All that a plugin author reads: ``types`` (Protocols and values), ``specs`` (the hooks)."""

from mlms.hooks.specs import hookimpl
from mlms.hooks.types import (
    Batch,
    Classification,
    Component,
    Context,
    CountsFlops,
    Dataset,
    Exporter,
    Framework,
    MeasuresRoof,
    Metric,
    Observable,
    Outputs,
    Predictor,
    Processor,
    Profiler,
    Roof,
    Sample,
    Task,
    TracksDeviceMemory,
)
from mlms.runs.run import Run

__all__ = [
    "Batch",
    "Classification",
    "Component",
    "Context",
    "CountsFlops",
    "Dataset",
    "Exporter",
    "Framework",
    "MeasuresRoof",
    "Metric",
    "Observable",
    "Outputs",
    "Predictor",
    "Processor",
    "Profiler",
    "Roof",
    "Run",
    "Sample",
    "Task",
    "TracksDeviceMemory",
    "hookimpl",
]
