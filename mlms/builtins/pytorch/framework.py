"""PyTorch as a framework of mlms; imported when the component is made, so torch loads at the top."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from mlms.builtins.pytorch.device import resolve
from mlms.builtins.pytorch.factory import build
from mlms.builtins.pytorch.failures import failure
from mlms.builtins.pytorch.predictor import PyTorchPredictor
from mlms.builtins.pytorch.roof import measure_roof
from mlms.builtins.pytorch.weights import load_weights
from mlms.errors import InputError
from mlms.hooks import Roof
from mlms.manifests.types import ModelAsset
from mlms.tracing.levels import LEVELS

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


class PyTorch:
    """Builds predictors from ``torch.nn.Module`` factories."""

    levels: tuple[str, ...] = LEVELS[1 : LEVELS.index("library") + 1]

    def load(
        self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]
    ) -> PyTorchPredictor:
        """Build ``model``, load ``weights`` into it and move it to ``device``.

        ``options`` are those of the component, and from the evaluation ``packages`` (that a factory may come from),
        ``dtype`` ("float32") and ``threads`` (None: PyTorch's default). Threads and determinism are settings of the
        process; the predictor's ``close`` puts them back.

        Raises:
            DeviceError: this machine has no such device.
            InputError: the factory or dtype is not allowed, or the weights don't fit.
            ModelError: building the model or moving it raised.
        """
        place = resolve(device)
        dtype = DTYPES.get(options.get("dtype", "float32"))
        if dtype is None:
            raise InputError(f"PyTorch models don't run in dtype {options['dtype']!r}", hint=f"use {', '.join(DTYPES)}")
        with ExitStack() as cleanup:
            if options.get("threads"):
                cleanup.callback(torch.set_num_threads, torch.get_num_threads())
                torch.set_num_threads(options["threads"])
            if options.get("deterministic"):
                _be_deterministic(cleanup)
            if place.type == "cuda":
                torch.cuda.init()  # type: ignore[no-untyped-call]  # without it resetting says "Invalid device argument"
                torch.cuda.reset_peak_memory_stats(place)
            module = build(model, options.get("packages", ()))
            try:
                if weights is not None:
                    load_weights(module, weights)
                module.eval().requires_grad_(False).to(place, dtype)
                if options.get("channels_last"):
                    module.to(memory_format=torch.channels_last)
                return PyTorchPredictor(
                    model, module, device=place, dtype=dtype, options=options, cleanup=cleanup.pop_all()
                )
            except Exception as error:
                raise failure(error, model.name, f"loading it to {place}") from error

    def measure_roof(self, device: str, dtype: str, threads: int | None) -> Roof:
        """What a large matrix product and triads of several sizes reach at best; see ``mlms.builtins.pytorch.roof``."""
        if dtype not in DTYPES:
            raise InputError(f"PyTorch models don't run in dtype {dtype!r}", hint=f"use {', '.join(DTYPES)}")
        return measure_roof(resolve(device), DTYPES[dtype], threads)

    def describe(self) -> Mapping[str, Any]:
        """Version, build, threads and, where there are any, GPUs with name, memory_bytes and driver."""
        return {
            "version": torch.__version__,
            "build": _build(),
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "gpus": _gpus(),
        }


def _be_deterministic(cleanup: ExitStack) -> None:
    cleanup.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True)
    cleanup.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    torch.backends.cudnn.benchmark = False
    # cuBLAS is deterministic only with a workspace of fixed size (CUDA's "Results reproducibility").
    if "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        cleanup.callback(os.environ.pop, "CUBLAS_WORKSPACE_CONFIG", None)


def _build() -> str:
    """What the binary was built with, in one line: "CUDA 12.4, cuDNN 9.1.0, oneDNN, MKL, OpenMP"."""
    parts = []
    backends: Any = torch.backends  # its functions carry no types
    if torch.version.cuda:
        parts.append(f"CUDA {torch.version.cuda}")
    if cudnn := backends.cudnn.version():
        parts.append(f"cuDNN {cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}")
    libraries = {
        "oneDNN": backends.mkldnn.is_available(),
        "MKL": backends.mkl.is_available(),
        "OpenMP": backends.openmp.is_available(),
    }
    return ", ".join(parts + [name for name, present in libraries.items() if present])


def _gpus() -> list[Mapping[str, Any]]:
    if not torch.cuda.is_available():
        return []
    driver = _driver()
    properties = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [{"name": gpu.name, "memory_bytes": gpu.total_memory, "driver": driver} for gpu in properties]


def _driver() -> str | None:
    """The version of NVIDIA's driver, which PyTorch doesn't tell."""
    module = Path("/sys/module/nvidia/version")
    if module.is_file():
        return module.read_text().strip()
    if program := shutil.which("nvidia-smi"):
        query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
        return answer.stdout.partition("\n")[0].strip() or None
    return None
