"""What PyTorch raises, said as an error of mlms; imports torch."""

from __future__ import annotations

import torch

from mlms.errors import MlmsError, ModelError, OutOfMemoryError

_ALLOCATION_FAILED = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What the CPU allocator and the CUDA libraries say in a bare RuntimeError."""


def failure(error: Exception, model: str, step: str, batch_size: int | None = None) -> MlmsError:
    """The error to raise from ``error``, which came up in ``step`` ("loading", "predicting") of ``model``."""
    if isinstance(error, MlmsError):
        return error
    batch = "" if batch_size is None else f" a batch of {batch_size}"
    if _out_of_memory(error):
        smaller = "a smaller batch_size, " if batch_size != 1 else ""
        return OutOfMemoryError(
            f"model {model!r} ran out of memory while {step}{batch}: {_first_line(error)}",
            hint=f"try {smaller}dtype float16 or bfloat16, a smaller model or a device with more memory",
        )
    return ModelError(f"model {model!r} raised {type(error).__name__} while {step}{batch}: {_first_line(error)}")


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _ALLOCATION_FAILED)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no message")
