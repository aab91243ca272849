"""From a model asset to a module with its first parameters; imports torch."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import nn

from mlms.builtins.pytorch.failures import failure
from mlms.errors import InputError
from mlms.manifests.factories import not_allowed, not_importable
from mlms.manifests.types import ModelAsset


def build(model: ModelAsset, packages: Sequence[str]) -> nn.Module:
    """Call the asset's factory, on the CPU and with the asset's seed (0 when weights are to be loaded).

    The random numbers of the rest of the process stay as they were.

    Raises:
        InputError: the factory is not within ``packages``, can't be imported, or gives no module.
        ModelError: it raised.
    """
    if model.source.factory is None:
        raise InputError(
            f"model '{model.name}' names no factory, which PyTorch builds it with", hint="add source.factory"
        )
    factory = _find(model.source.factory, packages)
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            # Not torch.manual_seed, which would seed every GPU too.
            torch.default_generator.manual_seed(model.source.weights.seed or 0)
            module = factory(**model.source.arguments)
    except Exception as error:
        raise failure(error, model.name, f"building it with {model.source.factory}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{model.source.factory} gives a {type(module).__name__}, not a torch.nn.Module")
    return module


def _find(name: str, packages: Sequence[str]) -> Callable[..., object]:
    """The callable that ``module:attribute`` names, if both it and its module belong to ``packages``."""
    module_name, _, attribute = name.partition(":")
    _check_allowed(name, module_name, packages)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise not_importable(name, str(error)) from error
    factory: Any = None
    with contextlib.suppress(AttributeError):
        factory = operator.attrgetter(attribute)(module)
    if not callable(factory):
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        hint = f"did you mean '{module_name}:{near[0]}'?" if near else "write it as module:attribute"
        raise InputError(f"factory {name!r}: {module_name} has no callable {attribute!r}", hint=hint)
    # What a module has merely imported (os.system, say) is not a part of its package.
    _check_allowed(name, str(getattr(factory, "__module__", None)), packages)
    return cast("Callable[..., object]", factory)


def _check_allowed(name: str, module: str, packages: Sequence[str]) -> None:
    if refusal := not_allowed(name, module, packages):
        raise refusal
