"""All that a plugin author reads: ``types`` (Protocols and values), ``specs`` (the hooks), and what profilers sample
with (``mlms.tracing.sampling``).
"""

from mlms.hooks.served import served
from mlms.hooks.specs import hookimpl
from mlms.hooks.types import (
    Batch,
    Checkpoints,
    Classification,
    Component,
    Context,
    CountsFlops,
    Dataset,
    Exporter,
    ForDevices,
    Framework,
    MeasuresRoof,
    Metric,
    NamesClasses,
    Observable,
    Outputs,
    Predictor,
    Processor,
    Profiler,
    Replays,
    Roof,
    Sample,
    Task,
    TracksDeviceMemory,
)
from mlms.runs.run import Run
from mlms.tracing.sampling import Series, Source, sampled

__all__ = [
    "Batch",
    "Checkpoints",
    "Classification",
    "Component",
    "Context",
    "CountsFlops",
    "Dataset",
    "Exporter",
    "ForDevices",
    "Framework",
    "MeasuresRoof",
    "Metric",
    "NamesClasses",
    "Observable",
    "Outputs",
    "Predictor",
    "Processor",
    "Profiler",
    "Replays",
    "Roof",
    "Run",
    "Sample",
    "Series",
    "Source",
    "Task",
    "TracksDeviceMemory",
    "hookimpl",
    "sampled",
    "served",
]
