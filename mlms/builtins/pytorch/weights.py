"""A file of parameters into a module, all of them and no others; imports torch."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from mlms.errors import InputError

SHOWN = 3
"""How many of a kind of misfit a message lists."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a safetensors file, or one that torch.save wrote, into ``module``.

    A checkpoint that holds the state dict as ``state_dict`` or ``model``, or whose keys all start with ``module.``
    (nn.DataParallel), is taken as well.

    Raises:
        InputError: the file can't be read, holds something else, or doesn't fit the module.
    """
    state = _read(path)
    consume_prefix_in_state_dict_if_present(state, "module.")
    _mend_dots(state, module)
    _check_real(state, module, path)
    try:
        # Not strict: modules may add or rename keys of older checkpoints while they load.
        missing, unexpected = module.load_state_dict(state, strict=False)
        misshapen: list[str] = []
    except RuntimeError as error:
        own = module.state_dict()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        misshapen = [
            f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in state.keys() & own.keys()
            if state[key].shape != own[key].shape
        ] or [str(error)]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": sorted(misshapen)}
    misfits = [f"{len(keys)} {kind} ({_short(keys)})" for kind, keys in kinds.items() if keys]
    if misfits:
        raise InputError(
            f"weights {path} don't fit the model: {'; '.join(misfits)}",
            hint="check the factory, its arguments (the number of classes) and that the weights are its own",
        )


def _read(path: Path) -> dict[str, Tensor]:
    # The state dict is kept as the object it is: an attribute of it tells modules the version of their format.
    content: Any
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle makes its reader trip over whatever it happens to be at
        raise InputError(
            f"weights {path} can't be read: {_reason(error)}",
            hint="mlms takes safetensors files and state dicts saved by torch.save; it runs no pickled code",
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise InputError(f"weights {path} hold no state dict", hint="save the model's state_dict()")
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # PyTorch's own words recommend to run what is in the file
        return "it is no file of torch.save's, or holds more than tensors"
    said = next(iter(str(error).splitlines()), "")
    return said if isinstance(error, OSError | RuntimeError | SafetensorError) and said else "it is damaged"


def _check_real(state: dict[str, Tensor], module: nn.Module, path: Path) -> None:
    """Refuse complex numbers for real ones: loading would drop their imaginary part."""
    own = module.state_dict()
    unreal = [key for key in own if key in state and state[key].is_complex() and not own[key].is_complex()]
    if unreal:
        raise InputError(
            f"weights {path} don't fit the model: {len(unreal)} are complex numbers, which it has none of there"
            f" ({_short(unreal)})",
            hint="save them as real numbers, or name the factory of the model that they are of",
        )


def _mend_dots(state: dict[str, Tensor], module: nn.Module) -> None:
    """Rename keys of checkpoints older than PyTorch 0.4, where modules could have dots in their names.

    (torchvision's DenseNets: ``norm.1`` is ``norm1`` today.) A key is taken for the one missing key that has the same
    letters without the dots.
    """
    own = module.state_dict().keys()
    missing = {key.replace(".", ""): key for key in own - state.keys()}
    for key in [key for key in state if key not in own]:
        if new := missing.get(key.replace(".", "")):
            state[new] = state.pop(key)


def _short(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
