"""Which device a name means on this machine; imports torch."""

from __future__ import annotations

import re

import torch

from mlms.errors import DeviceError


def resolve(name: str) -> torch.device:
    """The device called "cpu", "cuda" (the first), "cuda:N" or "auto" (the first CUDA device, else the CPU).

    Raises:
        DeviceError: no such name, or no such device here; says why.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", name)
    if not match:
        raise DeviceError(f"there is no device {name!r}", hint='PyTorch runs on "cpu", "cuda", "cuda:N" or "auto"')
    if not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        raise DeviceError(
            f"device {name!r}: the installed PyTorch {torch.__version__} is built without CUDA",
            hint="install a CUDA build (https://pytorch.org/get-started/locally), or use device cpu",
        )
    index, count = int(match[1] or 0), torch.cuda.device_count()
    if count == 0:
        raise DeviceError(
            f"device {name!r}: {_why_none()}",
            hint="check that nvidia-smi lists a GPU, that its driver is recent enough and that CUDA_VISIBLE_DEVICES "
            "doesn't hide it; or use device cpu",
        )
    if index >= count:
        present = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise DeviceError(f"device {name!r}: this machine has {present} only", hint=f"use {present}, or auto")
    return torch.device("cuda", index)


def _why_none() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return next(iter(str(error).splitlines()), "no CUDA device can be used").rstrip(".")
    return "no CUDA device can be used"
