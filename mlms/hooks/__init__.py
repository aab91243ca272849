"""All that a plugin author reads: ``types`` (Protocols and values), ``specs`` (the hooks), what profilers sample by."""

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
from mlms.tracing.sampling import Series, Source, sampled

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
    "Series",
    "Source",
    "Task",
    "TracksDeviceMemory",
    "hookimpl",
    "sampled",
]
