"""mlms evaluates and profiles machine-learning models described by YAML assets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "Results",
    "Run",
    "Settings",
    "agree",
    "analyze",
    "compare",
    "evaluate",
    "export",
    "load_catalog",
    "open_run",
    "plan",
    "predict",
    "where_time_goes",
]

if TYPE_CHECKING:
    from mlms.api import (
        Comparison,
        Results,
        Settings,
        agree,
        analyze,
        compare,
        evaluate,
        export,
        load_catalog,
        open_run,
        plan,
        predict,
        where_time_goes,
    )
    from mlms.runs.run import Run


def __getattr__(name: str) -> Any:
    """The API is imported when it is first used: ``mlms --version`` needs none of it."""
    if name in __all__:
        return getattr(import_module("mlms.api"), name)
    raise AttributeError(f"module 'mlms' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
