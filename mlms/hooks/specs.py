"""The hooks of mlms. A plugin is a module or object named by an entry point in the group ``mlms``::

    [project.entry-points.mlms]
    my-plugin = "my_package.plugin"

It implements any of the functions below, decorated with ``mlms.hooks.hookimpl``. Registration hooks are called once,
when mlms first needs a component; nothing here is called inside a measured region.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from mlms.hooks.types import Component, Dataset, Exporter, Framework, Metric, Processor, Profiler, Task

if TYPE_CHECKING:
    from mlms.manifests.types import Evaluation

PROJECT = "mlms"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mlms_asset_folders() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders with the plugin's own assets (``models/``, ``frameworks/``, ``datasets/``, ``labels/`` below each)."""


@hookspec
def mlms_frameworks() -> Iterable[Component[Framework]]:  # type: ignore[empty-body]
    """Runtimes that execute models; a framework asset names one as its ``component``."""


@hookspec
def mlms_processors() -> Iterable[Component[Processor]]:  # type: ignore[empty-body]
    """Operations for ``preprocess`` and ``postprocess``."""


@hookspec
def mlms_datasets() -> Iterable[Component[Dataset]]:  # type: ignore[empty-body]
    """Dataset readers; a dataset asset names one as its ``reader``."""


@hookspec
def mlms_tasks() -> Iterable[Component[Task]]:  # type: ignore[empty-body]
    """What models do; a model asset names one as its ``task``."""


@hookspec
def mlms_metrics() -> Iterable[Component[Metric]]:  # type: ignore[empty-body]
    """Figures over predictions; a task or manifest names them in ``metrics``."""


@hookspec
def mlms_profilers() -> Iterable[Component[Profiler]]:  # type: ignore[empty-body]
    """What observes the system during a run; a manifest names it in ``profilers``."""


@hookspec
def mlms_exporters() -> Iterable[Component[Exporter]]:  # type: ignore[empty-body]
    """Formats of other tools that finished runs can be written in; ``mlms export --format`` names one."""


@hookspec
def mlms_run_started(evaluation: Evaluation) -> None:
    """An evaluation is about to be provisioned."""


@hookspec
def mlms_run_finished(evaluation: Evaluation, record: dict[str, Any], directory: Path) -> None:
    """An evaluation's run directory is complete at ``directory``."""
