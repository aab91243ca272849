"""Factories of models, ``package.module:name``: where they may come from, and whether their package is there."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from mlms.errors import InputError


def module_of(factory: str) -> str:
    return factory.partition(":")[0]


def not_allowed(factory: str, module: str, packages: Sequence[str]) -> InputError | None:
    """The refusal of a factory from ``module`` where that isn't within a framework asset's ``packages``."""
    if any(f"{module}.".startswith(f"{package}.") for package in packages):
        return None
    return InputError(
        f"factory {factory!r} comes from {module!r}, which the framework asset doesn't allow "
        f"(allowed: {', '.join(packages) or 'none'})",
        hint="name a factory of an allowed package, or write a framework asset with the package in its packages",
    )


def not_there(factory: str) -> InputError | None:
    """The refusal of a factory whose top-level package isn't found. Nothing of the package is run to see that."""
    package = module_of(factory).partition(".")[0]
    try:
        found = importlib.util.find_spec(package) is not None
    except ValueError:  # a module that was imported without a specification
        found = True
    return None if found else not_importable(factory, f"there is no module {package!r}")


def not_importable(factory: str, reason: str) -> InputError:
    package = module_of(factory).partition(".")[0]
    return InputError(
        f"factory {factory!r} can't be imported: {reason}",
        hint=f"install the package of {package!r}, or name the folder that it lies in: PYTHONPATH=. mlms ...",
    )
