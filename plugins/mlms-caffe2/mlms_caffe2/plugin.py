"""What mlms finds through the entry point."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "Caffe2: init and predict nets."
    return [served("caffe2", "mlms_caffe2.serving", summary, levels=("framework", "layer"))]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
