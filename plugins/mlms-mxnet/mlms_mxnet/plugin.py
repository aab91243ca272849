"""What mlms finds through the entry point."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "Apache MXNet: symbols with their parameters."
    return [served("mxnet", "mlms_mxnet.serving", summary, levels=("framework", "layer", "operator"))]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
