"""What mlms finds through the entry point. JAX is imported in the worker only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlms.hooks import Component, Framework, hookimpl, served


@hookimpl
def mlms_frameworks() -> Iterable[Component[Framework]]:
    summary = "JAX functions, exported or built by a factory."
    return [served("jax", "mlms_jax.serving", summary, levels=("framework", "layer"))]


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]
