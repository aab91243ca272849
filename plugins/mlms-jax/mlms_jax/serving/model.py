"""A loaded JAX function."""

import contextlib
import gc
from time import perf_counter_ns

import jax
import numpy as np

from .function import fits, named, shown
from .profile import Profile


class Model:
    def __init__(self, function, place, device, dtype):
        self._place, self._device, self._dtype = place, device, dtype
        self._specs = function.specs
        self._parameters, self._size = function.parameters, function.size_bytes

        def by_name(*arrays):
            return {name: _standard(array) for name, array in named(function.run(*arrays))}

        self._call = jax.jit(by_name)  # compiles anew for each batch size

    def predict(self, batch):
        arrays = self._arrays(batch)
        if not len(arrays[0]):
            return self._empty(arrays)
        return {name: np.asarray(array) for name, array in self._call(*arrays).items()}

    def describe(self):
        return {
            "parameters": self._parameters,
            "size_bytes": self._size,
            "device": self._device,
            "dtype": self._dtype,
        }

    def flops(self, batch):
        """XLA's own count for the compiled function (a multiplication and an addition are two)."""
        costs = self._call.lower(*self._arrays(batch)).compile().cost_analysis() or {}
        costs = costs[0] if isinstance(costs, list) else costs
        return int(costs["flops"]) if costs.get("flops", 0) > 0 else None

    def device_peak_bytes(self):
        statistics = self._place.memory_stats() or {}  # a CPU has none
        return statistics.get("peak_bytes_in_use")

    @contextlib.contextmanager
    def observe(self, level, batch):
        watched = Watched(self, Profile() if level != "framework" else None)
        try:
            yield watched
        finally:
            watched.stop()

    def close(self):
        self._call = None
        jax.clear_caches()  # which hold the function's constants
        gc.collect()

    def _arrays(self, batch):
        """The batch's arrays in the function's order; ValueError where one isn't as the function takes it."""
        arrays = []
        for name, shape, dtype in self._specs:
            array = batch[name]
            if array.dtype != dtype or not (fits(array.shape, shape) or self._is_empty(array, shape)):
                raise ValueError(
                    f"input '{name}' is expected as {dtype} {shown(shape)}, given as "
                    f"{array.dtype} {shown(array.shape)}",
                    "mend input or preprocess in the model asset",
                )
            arrays.append(array)
        return arrays

    @staticmethod
    def _is_empty(array, shape):
        return array.ndim == len(shape) and array.shape[0] == 0 and fits(array.shape[1:], shape[1:])

    def _empty(self, arrays):
        """Outputs for no sample; jax.export knows no batch of 0, so their shapes are those of one sample's outputs."""
        one = [
            np.zeros((_least(shape[0]), *array.shape[1:]), array.dtype)
            for array, (_, shape, _) in zip(arrays, self._specs, strict=True)
        ]
        return {name: np.asarray(array)[:0] for name, array in self._call(*one).items()}


def _least(length):
    return length if isinstance(length, int) else 1


def _standard(array):
    """An array of a type that NumPy has itself."""
    return array.astype("float32") if array.dtype == "bfloat16" else array


class Watched:
    """The same predictions with their three parts timed, and JAX's profiler on where there is a ``profile``."""

    def __init__(self, model, profile):
        self._model, self._profile = model, profile
        self._parts = []

    def predict(self, batch):
        model = self._model
        with self._profile.prediction() if self._profile else contextlib.nullcontext():
            start = perf_counter_ns()
            inputs = jax.device_put(model._arrays(batch), model._place)
            jax.block_until_ready(inputs)
            placed = perf_counter_ns()
            found = jax.block_until_ready(model._call(*inputs))
            executed = perf_counter_ns()
            outputs = {name: np.asarray(array) for name, array in found.items()}
            end = perf_counter_ns()
        self._parts.append(
            [
                ("to device", "framework", start, placed, {}),
                ("execute", "framework", placed, executed, {}),
                ("to host", "framework", executed, end, {}),
            ]
        )
        return outputs

    def take(self):
        if self._profile is None:
            parts, self._parts = self._parts, []
            return parts
        layers = self._profile.take()
        parts, self._parts = self._parts[: len(layers)], self._parts[len(layers) :]
        return [own + below for own, below in zip(parts, layers, strict=True)]

    def stop(self):
        if self._profile is not None:
            self._profile.stop()
