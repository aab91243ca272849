"""TensorFlow Lite models in LiteRT's interpreter, as ``mlms.serving.contract`` has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every .tflite file."""

HELD = 8
"""So many idle interpreters are kept, each allocated for one batch shape."""

DTYPES = {number: name.lower() for name, number in vars(schema.TensorType).items() if not name.startswith("_")}
"""Names of the file format's numbers for dtypes."""

_latest = {"threads": 1}


def devices() -> Sequence[str]:
    return ["cpu"]


def describe() -> Mapping[str, Any]:
    """``threads`` are those of the model that was loaded last: each interpreter has its own."""
    return {"version": version("ai-edge-litert"), **_latest}


def load(model: Mapping[str, Any], weights: str | None, device: str, options: Mapping[str, Any]) -> Model:
    """A .tflite file."""
    if options.get("dtype", "float32") != "float32":
        raise ValueError(
            f"LiteRT runs a model in the dtypes of its file, and not in {options['dtype']}",
            "use dtype float32, and convert the model to another file for other dtypes",
        )
    if weights is None:
        raise ValueError("LiteRT's models have no random weights", "name a .tflite file as weights")
    path = Path(weights)
    with path.open("rb") as file:
        if file.read(8)[4:] != IDENTIFIER:
            raise ValueError(
                f"'{path.name}' is no TensorFlow Lite model: it lacks the identifier {IDENTIFIER.decode()}",
                "convert the model to .tflite with TensorFlow's or LiteRT's converter",
            )
    threads = options.get("threads") or 1  # LiteRT's own default
    loaded = Model(model, path, threads, options.get("xnnpack", True))
    _latest["threads"] = threads
    return loaded


def interpreter(path: Path, threads: int, xnnpack: bool) -> Interpreter:
    """
    Raises:
        ValueError: the file is damaged, or has operators that this LiteRT lacks.
    """
    kind = OpResolverType.BUILTIN if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        return Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=kind)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"LiteRT {version('ai-edge-litert')} can't read '{path.name}': {error}",
            "check that the file is whole; one converted for a newer LiteRT needs a newer ai-edge-litert",
        ) from error


class Interpreters:
    """Interpreters of one model: one for each prediction that is being made, allocated for that batch's shapes.

    An interpreter makes one prediction at a time, and allocates all its memory anew where a shape changes.
    """

    def __init__(self, make: Callable[[], Interpreter], allocate: Callable[[Interpreter, Any], None]) -> None:
        self._make, self._allocate = make, allocate
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, Interpreter]] = []
        """The least recently used one first; one with shapes None is not allocated yet."""

    def take(self, shapes: Any) -> Interpreter:
        with self._lock:
            for index, (allocated, _) in enumerate(self._idle):
                if allocated == shapes:
                    return self._idle.pop(index)[1]
            free = bool(self._idle) and (self._idle[0][0] is None or len(self._idle) >= HELD)
            found = self._idle.pop(0)[1] if free else None
        if found is None:
            found = self._make()
        self._allocate(found, shapes)
        return found

    def give(self, shapes: Any, interpreter: Interpreter) -> None:
        with self._lock:
            self._idle.append((shapes, interpreter))


class Model:
    """A loaded model. Inputs and outputs are (batch, ...)."""

    def __init__(self, model: Mapping[str, Any], path: Path, threads: int, xnnpack: bool) -> None:
        """
        Raises:
            ValueError: the file can't be read, or takes other inputs than the asset says.
        """
        self._name, self._file = model["name"], path.name
        self._shapes = {spec["name"]: tuple(spec["shape"]) for spec in model["inputs"]}
        first = interpreter(path, threads, xnnpack)
        takes, gives = named(first)
        self._inputs = matched(model["inputs"], takes, self._file)
        self._outputs = [(name, details["index"]) for name, details in gives.items()]
        self._stateful = keeps_state(path)
        self._facts = {**constants(path), "device": "cpu", "threads": threads, "xnnpack": xnnpack}
        self._interpreters: Interpreters | None = Interpreters(
            lambda: interpreter(path, threads, xnnpack), self._allocate
        )
        self._interpreters.give(None, first)
        self._empty_outputs: Mapping[str, np.ndarray] | None = None
        if not any(None in shape for shape in self._shapes.values()):
            # Operators that are missing are found out when memory is allocated.
            self._allocate(first, tuple((1, *shape) for shape in self._shapes.values()))
            outputs = {details["index"]: details for details in first.get_output_details()}
            self._empty_outputs = {
                name: np.empty((0, *outputs[index]["shape"][1:]), outputs[index]["dtype"])
                for name, index in self._outputs
            }

    def describe(self) -> Mapping[str, Any]:
        return self._facts

    def predict(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shapes = self._checked(batch)
        if not shapes[0][0]:
            return self._empty()
        interpreters = self._open()
        taken = interpreters.take(shapes)
        if self._stateful:
            taken.reset_all_variables()
        for name, index in self._inputs:
            taken.set_tensor(index, batch[name])
        taken.invoke()
        outputs = {name: taken.get_tensor(index) for name, index in self._outputs}
        interpreters.give(shapes, taken)
        return outputs

    @contextmanager
    def observe(self, level: str, batch: Mapping[str, np.ndarray]) -> Iterator[Watched]:
        yield Watched(self)

    def watched(self, batch: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[Any]]:
        """Outputs and spans."""
        shapes = self._checked(batch)
        if not shapes[0][0]:
            return self._empty(), []
        interpreters = self._open()
        taken = interpreters.take(shapes)
        times = [perf_counter_ns()]
        if self._stateful:
            taken.reset_all_variables()
        for name, index in self._inputs:
            taken.set_tensor(index, batch[name])
        times.append(perf_counter_ns())
        taken.invoke()
        times.append(perf_counter_ns())
        outputs = {name: taken.get_tensor(index) for name, index in self._outputs}
        times.append(perf_counter_ns())
        interpreters.give(shapes, taken)
        phases = zip(("set_tensor", "invoke", "get_tensor"), times, times[1:], strict=False)
        return outputs, [(phase, "framework", start, end, {}) for phase, start, end in phases]

    def close(self) -> None:
        self._interpreters = None

    def _open(self) -> Interpreters:
        if self._interpreters is None:
            raise RuntimeError(f"model '{self._name}' is closed")
        return self._interpreters

    def _allocate(self, taken: Interpreter, shapes: Sequence[Sequence[int]]) -> None:
        """
        Raises:
            ValueError: the model can't take such inputs.
        """
        try:
            for (_, index), shape in zip(self._inputs, shapes, strict=True):
                taken.resize_tensor_input(index, shape)
            taken.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            given = ", ".join(f"{name} {shown(shape)}" for name, shape in zip(self._shapes, shapes, strict=True))
            raise ValueError(
                f"LiteRT can't run '{self._file}' on {given}: {error}",
                "a model of a fixed batch size takes no other; operators that LiteRT lacks take TensorFlow",
            ) from error

    def _checked(self, batch: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], ...]:
        """The shapes of all inputs."""
        for name, wanted in self._shapes.items():
            given = batch[name].shape
            if given[1:] != wanted and not fits(given[1:], wanted):
                raise ValueError(
                    f"input '{name}' of '{self._name}' has shape {shown(('batch', *wanted))}, not {shown(given)}"
                )
        return tuple(batch[name].shape for name in self._shapes)

    def _empty(self) -> dict[str, np.ndarray]:
        if self._empty_outputs is None:
            raise ValueError(f"'{self._name}' has inputs of any size: an empty batch doesn't say the outputs' shapes")
        return {name: array.copy() for name, array in self._empty_outputs.items()}


class Watched:
    """A model whose predictions are told of."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._spans: list[list[Any]] = []

    def predict(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs, spans = self._model.watched(batch)
        self._spans.append(spans)
        return outputs

    def take(self) -> list[list[Any]]:
        taken, self._spans = self._spans, []
        return taken


Details = Mapping[str, Mapping[str, Any]]
"""What LiteRT says of tensors, by name: ``index``, ``dtype``, ``shape_signature`` (-1 is any length), ..."""


def named(loaded: Interpreter) -> tuple[Details, Details]:
    """Inputs and outputs, with the names of the signature where the model has just one, else of the tensors."""
    signatures = loaded.get_signature_list()
    if len(signatures) == 1:
        runner = loaded.get_signature_runner(*signatures)
        return runner.get_input_details(), runner.get_output_details()
    inputs, outputs = loaded.get_input_details(), loaded.get_output_details()
    return {each["name"]: each for each in inputs}, {each["name"]: each for each in outputs}


def matched(specs: Sequence[Mapping[str, Any]], takes: Details, file: str) -> list[tuple[str, int]]:
    """The tensor's index for each of the asset's inputs. An only input may have any name.

    Raises:
        ValueError: the model has other inputs.
    """
    if len(specs) == 1 and len(takes) == 1:
        takes = dict(zip((specs[0]["name"],), takes.values(), strict=True))
    names = {spec["name"] for spec in specs}
    if names != set(takes):
        raise ValueError(
            f"'{file}' takes {', '.join(sorted(takes))}, and the model asset gives {', '.join(sorted(names))}",
            "name the asset's inputs as in the file",
        )
    for spec in specs:
        details = takes[spec["name"]]
        dtype = np.dtype(details["dtype"]).name
        shape = tuple(None if length == -1 else length for length in details["shape_signature"][1:].tolist())
        if dtype != spec["dtype"] or not fits(tuple(spec["shape"]), shape, free=True):
            raise ValueError(
                f"input '{spec['name']}' of '{file}' is {dtype} {shown(('batch', *shape))}, not {spec['dtype']} "
                f"{shown(('batch', *spec['shape']))} as in the model asset",
                "correct the asset's input, and bring the samples there in preprocess",
            )
    return [(spec["name"], takes[spec["name"]]["index"]) for spec in specs]


def keeps_state(path: Path) -> bool:
    """Whether tensors of the file live on from one prediction to the next, as those of recurrent networks do."""
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graphs = (model.Subgraphs(index) for index in range(model.SubgraphsLength()))
    return any(graph.Tensors(index).IsVariable() for graph in graphs for index in range(graph.TensorsLength()))


def constants(path: Path) -> Mapping[str, Any]:
    """Number, size and dtype (that of most bytes) of the weights in the file.

    Whole numbers that aren't quantized are shapes and axes, no weights.
    """
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    count, sizes = 0, {"float32": 0}
    for graph in (model.Subgraphs(index) for index in range(model.SubgraphsLength())):
        for tensor in (graph.Tensors(index) for index in range(graph.TensorsLength())):
            size = model.Buffers(tensor.Buffer()).DataLength()
            dtype = DTYPES[tensor.Type()]
            scales = tensor.Quantization()
            if size and ("float" in dtype or (scales is not None and scales.ScaleLength())):
                count += int(np.prod(tensor.ShapeAsNumpy())) if tensor.ShapeLength() else 1
                sizes[dtype] = sizes.get(dtype, 0) + size
    return {"parameters": count, "size_bytes": sum(sizes.values()), "dtype": max(sizes, key=lambda each: sizes[each])}


def fits(given: Sequence[int | None], wanted: Sequence[int | None], free: bool = False) -> bool:
    """Whether a shape is the one wanted, in which None is any length; ``free``: in the given one too."""
    return len(given) == len(wanted) and all(
        length is None or length == there or (free and there is None)
        for there, length in zip(given, wanted, strict=True)
    )


def shown(shape: Sequence[Any]) -> str:
    """
    >>> shown((1, None, 8))
    '1x?x8'
    """
    return "x".join("?" if length is None else str(length) for length in shape)
