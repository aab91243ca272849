"""Real PyTorch modules with every kind of output and failure, as factories that a model asset can name."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from os import getcwd  # noqa: F401 (a callable that this module has, but that isn't its own)
from typing import Any

import torch
from torch import Tensor, nn
from torch.hub import download_url_to_file, load_state_dict_from_url

Pair = namedtuple("Pair", ["logits", "aux_logits"])


@dataclass
class Answer:
    logits: Tensor
    hidden: Tensor | None = None


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, x + 1),
    "list": lambda x: [x, x + 1],
    "dict": lambda x: OrderedDict(out=x, aux=x + 1),
    "namedtuple": lambda x: Pair(x, None),
    "dataclass": lambda x: Answer(x),
    "nested": lambda x: {"boxes": [x, (x,)]},
}


class Shaped(nn.Module):
    """Answers its input (times its one weight, 2) in one of the shapes of OUTPUTS."""

    def __init__(self, shape: str = "tensor") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))
        self.shape = shape

    def forward(self, x: Tensor) -> Any:
        return OUTPUTS[self.shape](x * self.weight)


class Difference(nn.Module):
    """Takes two inputs, whose order matters."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


class Broken(nn.Module):
    """Raises in forward."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("the sky fell\non our heads")


class Huge(nn.Module):
    """Asks for a pebibyte."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.empty(1 << 50, device=x.device, dtype=torch.uint8)


class Slow(nn.Module):
    """Multiplies a matrix by itself often, and answers no tensor whose copy would have to wait for that."""

    def forward(self, x: Tensor) -> tuple[int]:
        result = x
        for _ in range(50):
            result = result @ x
        return (0,)


class Layout(nn.Module):
    """Answers 1 where its input's channels are last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([int(x.is_contiguous(memory_format=torch.channels_last))])


class Versioned(nn.Module):
    """Refuses to load without the version that torch.save keeps in the state dict (as torchvision's MNASNet does)."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any) -> None:
        assert local_metadata.get("version") == 2, "no version"
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


class Named(nn.Module):
    """Has a submodule whose name older checkpoints write with a dot."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm1(x)


def linear(inputs: int = 4, outputs: int = 3) -> nn.Module:
    return nn.Sequential(OrderedDict(body=nn.Linear(inputs, 5), head=nn.Linear(5, outputs)))


def downloading(way: str, url: str, file: str) -> nn.Module:
    """Gets a file by ``torch.hub``, in one of the ways that libraries do."""
    if way == "from_url":
        load_state_dict_from_url(url)
    elif way == "to_file":
        download_url_to_file(url, file, progress=False)
    else:
        torch.hub.load("pytorch/vision", "resnet18", trust_repo=True)
    return linear()


def raising() -> nn.Module:
    raise RuntimeError("no such backbone")


def huge() -> nn.Module:
    return nn.Linear(1 << 24, 1 << 24)


def nothing() -> None:
    """Gives no module."""


NUMBER = 7


class InPlace(nn.Module):
    """Subtracts 1 from its input where it lies."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sub_(1.0)
