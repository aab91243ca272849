"""Registers everything in this package; importing it imports no framework."""

from __future__ import annotations

from collections.abc import Iterable

from mlms.builtins import cupti, exporters, metrics, processors, profilers, pytorch, readers, tasks
from mlms.hooks import Component, Dataset, Exporter, Framework, Metric, Processor, Profiler, Task, hookimpl


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    return [pytorch.COMPONENT]


@hookimpl
def mlms_processors() -> Iterable[Component[Processor]]:
    return processors.COMPONENTS


@hookimpl
def mlms_datasets() -> Iterable[Component[Dataset]]:
    return readers.COMPONENTS


@hookimpl
def mlms_tasks() -> Iterable[Component[Task]]:
    return tasks.COMPONENTS


@hookimpl
def mlms_metrics() -> Iterable[Component[Metric]]:
    return metrics.COMPONENTS


@hookimpl
def mlms_profilers() -> Iterable[Component[Profiler]]:
    return [*profilers.COMPONENTS, *cupti.COMPONENTS]


@hookimpl
def mlms_exporters() -> Iterable[Component[Exporter]]:
    return exporters.COMPONENTS
