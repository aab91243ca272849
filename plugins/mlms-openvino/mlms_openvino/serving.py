"""The serving module: models in OpenVINO (see ``mlms.serving.contract``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from os import cpu_count
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

Arrays = Mapping[str, npt.NDArray[np.generic]]

PRECISIONS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
DTYPES = {precision: dtype for dtype, precision in PRECISIONS.items()}
WEIGHTS = {".xml": "bin", ".pdmodel": "pdiparams"}
"""What the further file with the weights is called, by the suffix of the model's file."""

INDICES = ("i64", "i32", "u64", "u32", "boolean", "string")
"""Element types of shapes, axes and the like, which are no parameters."""


def devices() -> list[str]:
    """GPUs before the CPU, as mlms prefers them; NPUs last, since few models run there."""
    names = [_ours(name) for name in ov.Core().available_devices]
    return sorted(names, key=lambda name: (not name.startswith("gpu"), name != "cpu", name))


def describe() -> dict[str, Any]:
    """``threads`` are the processors at hand; a model's own are in its facts."""
    return {"version": ov.__version__, "threads": cpu_count(), "devices": ov.Core().available_devices}


def load(model: Mapping[str, Any], weights: str | None, device: str, options: Mapping[str, Any]) -> Model:
    if weights is None:
        raise ValueError("OpenVINO runs stored models only", "name the file: weights: {file: model.xml}")
    if options["dtype"] not in PRECISIONS:
        raise ValueError(f"OpenVINO doesn't compute in {options['dtype']}", f"use {', '.join(PRECISIONS)}")
    loaded = Model(Path(weights), model.get("files", {}), device, options)
    loaded.check_inputs(model["inputs"])
    return loaded


class Model:
    """A compiled model and its idle inference requests."""

    def __init__(self, path: Path, files: Mapping[str, str], device: str, options: Mapping[str, Any]) -> None:
        self._path, self._device = path, device
        self._second = files.get(WEIGHTS.get(path.suffix, ""))
        self._settings = _settings(options)
        model = self._read()
        constants = [op.output(0) for op in model.get_ops() if op.get_type_name() == "Constant"]
        tensors = [output for output in constants if output.get_element_type().get_type_name() not in INDICES]
        self._parameters = sum(prod(output.get_shape()) for output in tensors)
        self._size = sum(
            (prod(output.get_shape()) * output.get_element_type().bitwidth + 7) // 8 for output in constants
        )
        self._compiled: Any = self._compile(model)
        self._precision = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        asked = self._settings["INFERENCE_PRECISION_HINT"]
        if asked not in (self._precision, "dynamic"):
            raise ValueError(
                f"device {device} computes in {self._precision} here, not in {asked}",
                f"ask for dtype {DTYPES.get(self._precision, 'float32')}",
            )
        self._outputs = [_name(output) for output in self._compiled.outputs]
        self._idle: list[Any] = [self._compiled.create_infer_request()]
        self._stateful = bool(self._idle[0].query_state())

    def check_inputs(self, specs: Sequence[Mapping[str, Any]]) -> None:
        """Raises ValueError where the asset's inputs are not the file's."""
        inputs = self._compiled.inputs
        for spec in specs:
            value = next((each for each in inputs if spec["name"] in each.get_names()), None)
            if value is None or len(specs) != len(inputs):
                raise ValueError(
                    f"{self._path.name} has the inputs {', '.join(map(_name, inputs))}, but the model asset "
                    f"{', '.join(each['name'] for each in specs)}",
                    "name the file's inputs in the model asset",
                )
            shape = value.get_partial_shape()
            theirs, ours = _dtype(value), [-1, *(-1 if length is None else length for length in spec["shape"])]
            if theirs != spec["dtype"] or not shape.compatible(ov.PartialShape(ours)):
                raise ValueError(
                    f"input '{spec['name']}' of {self._path.name} is {theirs} of shape {shape.to_string()}, batch "
                    f"first, but {spec['dtype']} of shape {list(spec['shape'])} a sample in the model asset",
                    "state the file's type and shape in the model asset",
                )

    def predict(self, batch: Arrays) -> dict[str, Any]:
        """A request serves one thread at a time, so each call takes an idle one, or a new one if there is none."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        outputs = self.infer(request, batch)
        self._idle.append(request)
        return outputs

    def infer(self, request: Any, batch: Arrays) -> dict[str, Any]:
        if not all(map(len, batch.values())):  # a model that failed at such a batch predicts no other any more
            raise ValueError("OpenVINO can't predict an empty batch")
        if self._stateful:  # no sample has to do with the one before
            request.reset_state()
        try:
            # OpenVINO reads the batch where it is; the outputs are copied, since the request will write over its own.
            return dict(zip(self._outputs, request.infer(dict(batch), share_inputs=True).to_tuple(), strict=True))
        except RuntimeError as error:
            raise self._failure(error, batch) from error

    def describe(self) -> dict[str, Any]:
        return {
            "parameters": self._parameters,
            "size_bytes": self._size,
            "device": self._device,
            "dtype": DTYPES.get(self._precision, self._precision),
            **self._facts(),
        }

    def flops(self, batch: Arrays) -> int | None:
        """Of the convolutions and matrix products, a multiply-add being two; None where a shape isn't known."""
        model = self._read()
        model.reshape({name: ov.PartialShape(list(array.shape)) for name, array in batch.items()})
        counted = [_flops(op) for op in model.get_ops()]
        return None if None in counted else sum(counted)

    @contextmanager
    def observe(self, level: str, batch: Arrays) -> Iterator[Watched]:
        """Another compilation of the model, which counts; that of the measurement never does."""
        yield Watched(self, self._compile(self._read(), {"PERF_COUNT": True}), batch, averages=self._device == "cpu")

    def close(self) -> None:
        self._idle = []
        self._compiled = None

    def _read(self) -> ov.Model:
        try:
            return ov.Core().read_model(self._path, self._second or "")
        except RuntimeError as error:
            second = self._second or (self._path.with_suffix(".bin") if self._path.suffix == ".xml" else None)
            where = f"{self._path} with {second}" if second else str(self._path)
            raise ValueError(
                f"OpenVINO {ov.__version__.partition('-')[0]} can't read {where}: {_plain(error)}",
                "it takes OpenVINO IR (.xml with files: {bin: ...}), .onnx, .tflite and Paddle's .pdmodel",
            ) from error

    def _compile(self, model: ov.Model, more: Mapping[str, Any] | None = None) -> Any:
        try:
            return ov.Core().compile_model(model, _theirs(self._device), {**self._settings, **(more or {})})
        except RuntimeError as error:
            if "alloc" in str(error):
                raise MemoryError(_plain(error)) from error
            message = f"OpenVINO can't compile {self._path} for device {self._device}: {_plain(error)}"
            raise ValueError(message, "use another device or dtype, or other options") from error

    def _facts(self) -> dict[str, Any]:
        """What OpenVINO chose, as far as the device has it."""
        names = {"threads": "INFERENCE_NUM_THREADS", "streams": "NUM_STREAMS"}
        if self._compiled is None:
            return {}
        known = set(self._compiled.get_property("SUPPORTED_PROPERTIES"))
        return {ours: self._compiled.get_property(theirs) for ours, theirs in names.items() if theirs in known}

    def _failure(self, error: RuntimeError, batch: Arrays) -> Exception:
        """What a failed inference says to the user."""
        if "alloc" in str(error):
            return MemoryError(_plain(error))
        for value in self._compiled.inputs:
            expected, name = value.get_partial_shape(), next(filter(batch.__contains__, value.get_names()), None)
            if name is None:
                return ValueError(f"the batch has no input '{_name(value)}'; it has {', '.join(batch)}")
            given = list(batch[name].shape)
            if not expected.compatible(ov.PartialShape(given)):
                return ValueError(f"input '{name}' takes the shape {expected.to_string()}, but was given {given}")
        return RuntimeError(_plain(error))


class Watched:
    """A model whose performance counters are on; its predictions are made one at a time.

    The CPU's counters are ``averages`` over all predictions of a compiled model. Its first, which is much slower than
    all others, is therefore made here, and taken out of them.
    """

    def __init__(self, model: Model, compiled: Any, batch: Arrays, averages: bool) -> None:
        self._model, self._compiled, self._request = model, compiled, compiled.create_infer_request()
        self._averages = averages
        model.infer(self._request, batch)
        self._first = {node.node_name: _nanoseconds(node) for node in self._request.profiling_info}
        self._predictions = 0
        self._timed: list[tuple[int, int, tuple[Any, ...]]] = []
        self._shapes: dict[tuple[Any, ...], dict[str, list[str]]] = {}

    def predict(self, batch: Arrays) -> dict[str, Any]:
        start = perf_counter_ns()
        outputs = self._model.infer(self._request, batch)
        self._timed.append((start, perf_counter_ns(), tuple(array.shape for array in batch.values())))
        self._predictions += 1
        return outputs

    def take(self) -> list[list[Any]]:
        """The nodes that ran, laid one after the other from the prediction's start: OpenVINO has their durations only.

        The sum of averages may be longer than a fast prediction; all are shortened alike then.
        """
        if not self._timed:
            return []
        nodes = [node for node in self._request.profiling_info if node.status.name == "EXECUTED"]
        durations = [self._duration(node) for node in nodes]
        whole, shapes = sum(durations), self._node_shapes(self._timed[-1][2])
        described = [(node.node_name, _attributes(node, shapes)) for node in nodes]
        taken = []
        for start, end, _ in self._timed:
            factor = min(1.0, (end - start) / whole) if whole else 1.0
            spans = []
            for (name, attributes), duration in zip(described, durations, strict=True):
                stop = start + int(duration * factor)
                spans.append((name, "layer", start, stop, attributes))
                start = stop
            taken.append(spans)
        self._timed = []
        return taken

    def _duration(self, node: ov.ProfilingInfo) -> float:
        """In ns."""
        if not self._averages:
            return _nanoseconds(node)
        total = _nanoseconds(node) * (self._predictions + 1) - self._first.get(node.node_name, 0)
        return max(total / self._predictions, 0)

    def _node_shapes(self, batch: tuple[Any, ...]) -> dict[str, list[str]]:
        """Output shapes by node, for a batch of these shapes that was just predicted."""
        if batch not in self._shapes:
            self._shapes[batch] = {
                op.get_friendly_name(): ["x".join(map(str, output.get_shape())) for output in op.outputs()]
                for op in self._compiled.get_runtime_model().get_ops()
                if all(output.get_partial_shape().is_static for output in op.outputs())
            }
        return self._shapes[batch]


def _nanoseconds(node: ov.ProfilingInfo) -> int:
    return round(node.real_time.total_seconds() * 1e9)


def _attributes(node: ov.ProfilingInfo, shapes: Mapping[str, list[str]]) -> dict[str, Any]:
    attributes: dict[str, Any] = {"mlms.layer.type": node.node_type, "openvino.exec_type": node.exec_type}
    if node.node_name in shapes:
        attributes["mlms.layer.output_shapes"] = shapes[node.node_name]
    return attributes


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    settings = {
        "INFERENCE_PRECISION_HINT": options.get("inference_precision") or PRECISIONS[options["dtype"]],
        "PERFORMANCE_HINT": options.get("performance_hint", "LATENCY"),
    }
    if "num_streams" in options:
        settings["NUM_STREAMS"] = options["num_streams"]
    if options.get("threads"):
        settings["INFERENCE_NUM_THREADS"] = options["threads"]
    return settings


def _flops(op: ov.Node) -> int | None:
    kind = op.get_type_name()
    filters = {
        "Convolution": 1,
        "ConvolutionBackpropData": 1,
        "GroupConvolution": 2,
        "GroupConvolutionBackpropData": 2,
    }  # the dimensions of a filter before those that are summed over
    if kind != "MatMul" and kind not in filters:
        return 0
    values = [op.input(0), op.input(1), op.output(0)]
    if any(value.get_partial_shape().is_dynamic for value in values):
        return None
    first, second, output = (tuple(value.get_shape()) for value in values)
    if kind == "MatMul":
        transposed = op.get_attributes()["transpose_a"] and len(first) > 1
        return 2 * prod(output) * first[-2 if transposed else -1]
    return 2 * prod(first if kind.endswith("BackpropData") else output) * prod(second[filters[kind] :])


def _name(value: Any) -> str:
    """An input's or output's name."""
    name: str = value.get_any_name() if value.get_names() else value.get_node().get_friendly_name()
    return name


def _dtype(value: Any) -> str:
    element = value.get_element_type()
    try:
        return str(np.dtype(element.to_dtype()))
    except (RuntimeError, TypeError, ValueError):  # a type that NumPy lacks
        return str(element.get_type_name())


def _plain(error: RuntimeError) -> str:
    """OpenVINO's message without where in its sources it comes from."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    return " ".join(told) or str(error).strip()


def _ours(device: str) -> str:
    """mlms's name for OpenVINO's device: "cpu", "gpu:1", "npu"."""
    kind, _, index = device.lower().partition(".")
    return f"gpu:{index or 0}" if kind == "gpu" else device.lower().replace(".", ":")


def _theirs(device: str) -> str:
    return device.upper().replace(":", ".")
