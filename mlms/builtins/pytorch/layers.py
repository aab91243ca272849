"""A module's layers: what they are, and how their calls are wrapped while somebody looks; imports torch.

A layer is a submodule that is called. Its ``forward`` is shadowed by an instance attribute, which PyTorch calls on its
fast path: cheaper than a pair of hooks, and nothing at all once it is taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

Wrap = Callable[[Callable[..., Any], "Layer"], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Layer:
    """A submodule under its qualified name; ``aliases`` are the other names of a shared one."""

    name: str
    aliases: tuple[str, ...]
    module: nn.Module

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What is the same at each call. ``parameters`` counts those of the whole subtree, shared ones once."""
        return {
            "mlms.layer.name": self.name,
            "mlms.layer.type": type(self.module).__qualname__,
            "mlms.layer.parameters": sum(parameter.numel() for parameter in self.module.parameters()),
            "mlms.layer.parameter_bytes": sum(
                parameter.numel() * parameter.element_size() for parameter in self.module.parameters()
            ),
            "mlms.layer.aliases": list(self.aliases) or None,
        }


def layers_of(module: nn.Module) -> tuple[Layer, ...]:
    """All submodules, each once, without the module itself. Scripted ones run outside of Python and are left out."""
    names: dict[int, list[str]] = {}
    modules: dict[int, nn.Module] = {}
    for name, child in module.named_modules(remove_duplicate=False):
        if child is not module and not isinstance(child, torch.jit.ScriptModule):
            names.setdefault(id(child), []).append(name)
            modules[id(child)] = child
    return tuple(Layer(first, tuple(others), modules[key]) for key, (first, *others) in names.items())


@contextmanager
def wrapped(layers: Sequence[Layer], wrap: Wrap) -> Iterator[None]:
    """Shadow each layer's ``forward`` with ``wrap(forward, layer)`` for as long as the context is open."""
    with ExitStack() as stack:
        for layer in layers:
            before = layer.module.__dict__.get("forward")
            layer.module.forward = wrap(layer.module.forward, layer)
            stack.callback(_restore, layer.module, before)
        yield


def describe_calls(
    module: nn.Module, layers: Sequence[Layer], inputs: Sequence[Tensor]
) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Attributes of the first, second, ... call of each layer, from one run on ``inputs``.

    FLOPs are torch's own count (``torch.utils.flop_counter``): two a multiply-add, of matrix products, convolutions
    and attention only.
    """
    calls: dict[str, list[Mapping[str, Any]]] = {layer.name: [] for layer in layers}
    counter = FlopCounterMode(display=False)

    def wrap(forward: Callable[..., Any], layer: Layer) -> Callable[..., Any]:
        def described(*arguments: Any, **keywords: Any) -> Any:
            mine = calls[layer.name]
            call = len(mine)
            mine.append({})  # its place in the order of entry, which a call within this call would take
            before = counter.get_total_flops()
            given = [*arguments, *keywords.values()]
            taken = {"mlms.layer.input_shapes": _shapes(given), "mlms.layer.input_bytes": _bytes(given)}
            output = forward(*arguments, **keywords)
            mine[call] = {
                **taken,
                "mlms.layer.output_shapes": _shapes(output),
                "mlms.layer.output_bytes": _bytes(output),
                "mlms.layer.flops": counter.get_total_flops() - before,
                "mlms.layer.call": call,
            }
            return output

        return described

    with torch.inference_mode(), wrapped(layers, wrap), counter:
        module(*inputs)
    return calls


def _restore(module: nn.Module, before: Any) -> None:
    if before is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = before


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _shapes(value: Any) -> list[str]:
    """Such as ``["1x3x224x224"]``, one for each tensor."""
    return ["x".join(map(str, tensor.shape)) for tensor in _tensors(value)]


def _bytes(value: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(value))
