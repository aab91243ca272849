"""A loaded TensorFlow model."""

import contextlib
import gc
from time import perf_counter_ns

import tensorflow as tf

from .profile import Profile


class Model:
    def __init__(self, program, device, dtype):
        self._program, self._device, self._dtype = program, device, dtype
        self._expected = [(name, tuple(spec.shape), spec.dtype.as_numpy_dtype) for name, spec in program.specs.items()]

    def predict(self, batch):
        outputs = self._program.function(**self._tensors(batch))
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def describe(self):
        return {
            "parameters": self._program.parameters,
            "size_bytes": self._program.size_bytes,
            "device": self._device,
            "dtype": self._dtype,
        }

    def flops(self, batch):
        """TensorFlow's own count for the operations that it has one for (a multiplication and an addition are two)."""
        graph = self._program.graph_for(_shapes(batch))
        if graph is None:
            return None
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        counted = tf.compat.v1.profiler.profile(graph, options=options)
        return counted.total_float_ops or None

    def device_peak_bytes(self):
        if self._device == "cpu":
            return None
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]  # the only one that is visible

    @contextlib.contextmanager
    def observe(self, level, batch):
        profile = Profile(self._program.graph_for(_shapes(batch))) if level != "framework" else None
        watched = Watched(self._program, self._tensors, profile)
        try:
            yield watched
        finally:
            watched.stop()

    def close(self):
        self._program.close()
        tf.keras.backend.clear_session()
        gc.collect()

    def _tensors(self, batch):
        """The batch's arrays as tensors; ValueError where one isn't as the model takes it."""
        tensors = {}
        for name, shape, dtype in self._expected:
            array = batch[name]
            if array.dtype != dtype or not _fits(array.shape, shape):
                raise ValueError(
                    f"input '{name}' is expected as {dtype.__name__} {_shown(shape)}, given as "
                    f"{array.dtype} {_shown(array.shape)}",
                    "mend input or preprocess in the model asset",
                )
            tensors[name] = tf.constant(array)
        return tensors


def _fits(shape, expected):
    return len(shape) == len(expected) and all(b is None or a == b for a, b in zip(shape, expected, strict=True))


def _shown(shape):
    return "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"


def _shapes(batch):
    return {name: array.shape for name, array in batch.items()}


class Watched:
    """The same predictions with their three parts timed, and TensorFlow's profiler on where there is a ``profile``."""

    def __init__(self, program, tensors, profile):
        self._program, self._tensors, self._profile = program, tensors, profile
        self._parts = []

    def predict(self, batch):
        with self._profile.prediction() if self._profile else contextlib.nullcontext():
            start = perf_counter_ns()
            tensors = self._tensors(batch)
            converted = perf_counter_ns()
            found = self._program.function(**tensors)
            executed = perf_counter_ns()
            outputs = {name: tensor.numpy() for name, tensor in found.items()}
            end = perf_counter_ns()
        self._parts.append(
            [
                ("to tensors", "framework", start, converted, {}),
                ("execute", "framework", converted, executed, {}),
                ("to arrays", "framework", executed, end, {}),
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
