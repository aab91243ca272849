"""A PyTorch module that answers batches; imports torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlms.builtins.pytorch.failures import failure
from mlms.builtins.pytorch.observation import Observed, observed
from mlms.hooks import Batch, Outputs
from mlms.manifests.types import ModelAsset
from mlms.tracing.recorder import Recorder


class PyTorchPredictor:
    """Holds ``module``, which lies on ``device`` in ``dtype``; ``cleanup`` is closed with it."""

    def __init__(
        self,
        model: ModelAsset,
        module: nn.Module,
        *,
        device: torch.device,
        dtype: torch.dtype,
        options: Mapping[str, Any],
        cleanup: ExitStack,
    ) -> None:
        self.name = model.name
        self._inputs = [spec.name for spec in model.input]
        self.device, self._dtype = device, dtype
        self._channels_last = bool(options.get("channels_last"))
        self._cleanup = cleanup
        tensors = [*module.parameters(), *module.buffers()]
        self._description = {
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
            "size_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors),
            "device": str(device),
            "dtype": str(dtype).removeprefix("torch."),
            "compiled": bool(options.get("compile")),
            "channels_last": self._channels_last,
        }
        uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None) if device.type == "cuda" else None
        if uuid is not None:  # PyTorch 2.4 or later
            self._description["device_uuid"] = f"GPU-{uuid}"
        self._eager: Any = module
        self._spares_inputs: bool | None = None
        """Whether the module leaves its inputs as they are; None before its first prediction."""
        compiling = options.get("compile", False)
        self.compiled = compiling is not False
        self.module: Any = module
        if self.compiled:
            self.module = torch.compile(module, **({} if compiling is True else compiling))

    def predict(self, batch: Batch) -> Outputs:
        """Run the module on the model's inputs in their order; returns host arrays, all device work done.

        A single tensor is called ``output``, those of a tuple or list ``output_0`` and so on, those of a mapping,
        named tuple or dataclass by their own names. bfloat16, which NumPy lacks, comes as float32.

        Raises:
            OutOfMemoryError: the batch didn't fit.
            ModelError: the module raised.
        """
        try:
            with torch.inference_mode():
                inputs = self.input_transfer(batch)
                outputs = self.forward(inputs)
                self.synchronize()
                return self.output_transfer(outputs)
        except Exception as error:
            size = max((len(array) for array in batch.values()), default=0)
            raise failure(error, self.name, "predicting", size) from error

    def input_transfer(self, batch: Batch) -> list[Tensor]:
        """The model's inputs in their order, on its device and in its dtype."""
        return [self._to_device(batch[name]) for name in self._inputs]

    def forward(self, inputs: Sequence[Tensor]) -> Any:
        if not self._spares_inputs and self.device.type == "cpu":
            return self._guarded_forward(inputs)
        return self.module(*inputs)

    def _guarded_forward(self, inputs: Sequence[Tensor]) -> Any:
        """The same with copies, since on the CPU the inputs are the caller's batch, which is predicted again.

        The first time it is found out whether the module changes them, by PyTorch's count of changes in place: it is
        kept outside of the inference mode only, and a compiled module doesn't show it.
        """
        if self._spares_inputs is None:
            with torch.inference_mode(False), torch.no_grad():
                copies = [each.clone() for each in inputs]
                outputs = self._eager(*copies)
            self._spares_inputs = all(each._version == 0 for each in copies)
            if not self.compiled:
                return outputs
        return self.module(*(inputs if self._spares_inputs else [each.clone() for each in inputs]))

    def synchronize(self) -> None:
        """Wait until the device has done all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def output_transfer(self, outputs: Any) -> Outputs:
        """The outputs by name, in host memory."""
        return {name: _to_host(value) for name, value in _named(outputs) if value is not None}

    def observe(self, recorder: Recorder, level: str, batch: Batch) -> AbstractContextManager[Observed]:
        """Record the spans of each prediction down to ``level``."""
        return observed(self, recorder, level, batch)

    def describe(self) -> Mapping[str, Any]:
        """Parameters (count), size_bytes (parameters and buffers), device, dtype, compiled, channels_last."""
        return self._description

    def flops(self, batch: Batch) -> int:
        """As PyTorch's own counter has it: matrix multiplications, convolutions and attention, of the eager module."""
        from torch.utils.flop_counter import FlopCounterMode

        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self._eager(*(each.clone() for each in self.input_transfer(batch)))
        return int(counter.get_total_flops())

    def device_peak_bytes(self) -> int | None:
        """The caching allocator's peak since the model was loaded; CUDA's own context is not in it."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def close(self) -> None:
        """Give the memory back and the process its settings."""
        self.module = self._eager = None
        self._cleanup.close()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _to_device(self, array: npt.NDArray[Any]) -> Tensor:
        # Copies only what torch can't alias: memory that is read-only or runs backwards.
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        dtype = self._dtype if tensor.is_floating_point() else tensor.dtype
        tensor = tensor.to(self.device, dtype, non_blocking=True)
        if self._channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return tensor


def _named(outputs: Any) -> list[tuple[str, Any]]:
    if isinstance(outputs, Mapping):
        return [(str(name), value) for name, value in outputs.items()]
    if dataclasses.is_dataclass(outputs):
        return [(field.name, getattr(outputs, field.name)) for field in dataclasses.fields(outputs)]
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return list(zip(outputs._fields, outputs, strict=True))
    if isinstance(outputs, tuple | list):
        return [(f"output_{index}", value) for index, value in enumerate(outputs)]
    return [("output", outputs)]


def _to_host(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.detach() if value.requires_grad else value
        return (value.float() if value.dtype is torch.bfloat16 else value).cpu().numpy()
    if isinstance(value, Mapping):
        return {name: _to_host(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_host(item) for item in value]
    return value
