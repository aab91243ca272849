"""The most that a device reaches, as PyTorch's own libraries drive it; imports torch.

NumPy's matrix product is as fast on a CPU in float32 (within 3% where this was written), but it knows neither bfloat16,
nor PyTorch's threads, nor GPUs; so the framework that runs the model measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter

import torch

from mlms.hooks import Roof

KIB = 1024
MATRICES = (512, 1024, 2048, 4096, 8192)
"""Tried in this order for as long as one product should take no more than ``LONGEST_S``."""
LONGEST_S = 0.25
WORKING_SETS = tuple(KIB * 4**power for power in range(4, 10))
"""256 KiB to 256 MiB: from the second-level cache of a core to what no cache holds."""
GPU_WORKING_SETS = (*WORKING_SETS, 1 << 30)
SECONDS, MOST_SECONDS = 0.3, 3.0
"""A measurement is repeated until its fastest call has stood for so long, and no longer than the latter: noise only
slows down."""


def measure_roof(device: torch.device, dtype: torch.dtype, threads: int | None) -> Roof:
    """Measure FLOPs a second and bandwidths; takes some seconds."""
    with _settings(threads):
        # Half-precision products on a CPU without instructions for them are slower than computing in float32 instead.
        dtypes = {dtype, torch.float32} if dtype is torch.float16 and device.type == "cpu" else {dtype}
        flops = max(_matmul(device, each) for each in dtypes)
        sizes = GPU_WORKING_SETS if device.type == "cuda" else WORKING_SETS
        return Roof(flops, tuple((size, _triad(device, size)) for size in sizes))


def _matmul(device: torch.device, dtype: torch.dtype) -> float:
    best = 0.0
    for size in MATRICES:
        one, two = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty(size, size, device=device, dtype=dtype)
        taken = _fastest(device, lambda one=one, two=two, out=out: torch.mm(one, two, out=out))  # type: ignore[misc]
        best = max(best, 2 * size**3 / taken)
        if 8 * taken > LONGEST_S:
            break
    return best


def _triad(device: torch.device, working_set: int) -> float:
    # In float32 for every dtype: bytes are bytes, and a CPU widens half precision at the cost of computing.
    count = working_set // 12
    one, two, out = (torch.ones(count, device=device) for _ in range(3))
    taken = _fastest(device, lambda: torch.add(one, two, alpha=3.0, out=out))
    return 12 * count / taken


def _fastest(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of the fastest of many calls, the device's work done."""
    best = float("inf")
    with torch.inference_mode():
        work()
        _wait(device)
        began = stood = perf_counter()
        while (start := perf_counter()) - stood < SECONDS and start - began < MOST_SECONDS:
            work()
            _wait(device)
            taken = perf_counter() - start
            if taken < 0.99 * best:
                stood = start
            best = min(best, taken)
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _settings(threads: int | None) -> Iterator[None]:
    """So many threads, and TF32 in matrix products where convolutions may use it; put back afterwards."""
    with ExitStack() as cleanup:
        if threads is not None:
            cleanup.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        products = torch.backends.cuda.matmul
        cleanup.callback(setattr, products, "allow_tf32", products.allow_tf32)
        products.allow_tf32 = torch.backends.cudnn.allow_tf32
        yield
