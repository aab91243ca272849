"""Caffe and ONNX models in OpenCV's DNN module, as ``mlms.serving.contract`` has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import cv2
import numpy as np

HELD = 8
"""So many idle nets are kept, each for the batch shape that it ran last."""

WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct")
"""Layers that a Caffe network can't run without weights."""

Span = tuple[str, str, int, int, Mapping[str, Any]]
"""Name, level, start and end (ns of perf_counter_ns), attributes."""


def devices() -> Sequence[str]:
    return ["cpu"]


def describe() -> Mapping[str, Any]:
    return {"version": cv2.__version__, "threads": cv2.getNumThreads(), "cpu_features": cv2.getCPUFeaturesLine()}


def load(model: Mapping[str, Any], weights: str | None, device: str, options: Mapping[str, Any]) -> Model:
    """A .caffemodel with ``files["prototxt"]``, or an .onnx file."""
    refuse_new(cv2.__version__)
    if options.get("dtype", "float32") != "float32":
        raise ValueError(f"OpenCV runs models in float32, not in {options['dtype']}", "use dtype float32")
    read = reader(weights, model["files"], options.get("fusion", True), options.get("winograd", True))
    with quiet():
        return Model(model, Path(weights or ""), read, options.get("threads"))


def refuse_new(version: str) -> None:
    """
    Raises:
        ValueError: OpenCV is too new.
    """
    if int(version.split(".")[0]) >= 5:
        raise ValueError(
            f"OpenCV {version} won't do: from 5.0 on it can't read Caffe models, and has another DNN engine",
            "install 'opencv-python-headless<5'",
        )


def reader(weights: str | None, files: Mapping[str, str], fusion: bool, winograd: bool) -> Callable[[], cv2.dnn.Net]:
    """What reads the model's files into a new net.

    Raises:
        ValueError: they are no Caffe or ONNX model; so does the reader.
    """
    if weights is None:
        raise ValueError("OpenCV's models have no random weights", "name a .caffemodel or an .onnx file as weights")
    path = Path(weights)
    prototxt = files.get("prototxt") if path.suffix == ".caffemodel" else None
    if path.suffix == ".caffemodel" and prototxt is None:
        raise ValueError(
            f"'{path.name}' has the weights of a Caffe model, but not its network",
            "name the network under source.files: {prototxt: {file: ...}}",
        )
    if path.suffix not in (".caffemodel", ".onnx"):
        raise ValueError(
            f"OpenCV takes Caffe and ONNX models here, but '{path.name}' ends with neither .caffemodel nor .onnx",
            "convert the model to ONNX",
        )

    def read() -> cv2.dnn.Net:
        try:
            net = cv2.dnn.readNetFromONNX(weights) if prototxt is None else cv2.dnn.readNetFromCaffe(prototxt, weights)
        except cv2.error as error:
            which = path.name if prototxt is None else f"{Path(prototxt).name}' and '{path.name}"
            raise ValueError(
                f"OpenCV can't read '{which}': {reason(error)}",
                "check that each file is what its name says, whole, and has only layers that OpenCV knows",
            ) from error
        net.enableFusion(fusion)
        net.enableWinograd(winograd)
        return net

    return read


def reason(error: cv2.error) -> str:
    """What OpenCV says, without the place in its sources."""
    return " ".join(str(error.err or error).split())


@contextmanager
def quiet() -> Iterator[None]:
    """Without log lines of what is raised anyway."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


class Threads:
    """OpenCV's number of threads, one for the whole process: what the latest open model wants, and what it was before
    when all are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wishes: dict[object, int] = {}
        self._before = 0

    def want(self, who: object, count: int) -> None:
        with self._lock:
            if not self._wishes:
                self._before = cv2.getNumThreads()
            self._wishes[who] = count
            cv2.setNumThreads(count)

    def release(self, who: object) -> None:
        with self._lock:
            if self._wishes.pop(who, None) is not None:
                cv2.setNumThreads(next(reversed(self._wishes.values()), self._before))


THREADS = Threads()


class Nets:
    """Nets of one model: one for each prediction that is being made, since a net can make only one at a time.

    An idle net is taken for the shape that it ran last: OpenCV allocates and fuses anew where the shape changes.
    """

    def __init__(self, read: Callable[[], cv2.dnn.Net]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, cv2.dnn.Net]] = []
        """The least recently used one first; one with shape None suits any."""

    def take(self, shape: Any) -> cv2.dnn.Net:
        with self._lock:
            for index, (ran, _) in enumerate(self._idle):
                if ran == shape:
                    return self._idle.pop(index)[1]
            if self._idle and (self._idle[0][0] is None or len(self._idle) >= HELD):
                return self._idle.pop(0)[1]
        return self._read()

    def give(self, shape: Any, net: cv2.dnn.Net) -> None:
        with self._lock:
            self._idle.append((shape, net))


class Model:
    """A loaded model. Inputs and outputs are (batch, ...)."""

    def __init__(
        self, model: Mapping[str, Any], path: Path, read: Callable[[], cv2.dnn.Net], threads: int | None
    ) -> None:
        """
        Raises:
            ValueError: the files can't be read, or the network can't run on such inputs.
        """
        self._name = model["name"]
        self._shapes = {spec["name"]: tuple(spec["shape"]) for spec in model["inputs"]}
        # An only input needs no name: what the file calls it is the file's matter.
        self._inputs = [(name, name if len(self._shapes) > 1 else "") for name in self._shapes]
        self._nets: Nets | None = Nets(read)
        self._known: dict[tuple[tuple[int, ...], ...], Sequence[Mapping[str, Any]]] = {}
        net = read()
        if not net.getLayerNames():
            raise ValueError(f"the network of '{path.name}' has no layers")
        try:
            self._layers = list(net.getLayerNames())
            blobs = {name: net.getLayer(index).blobs for index, name in enumerate(self._layers, 1)}
            self._types = [net.getLayer(index).type for index in range(1, len(self._layers) + 1)]
        except cv2.error as error:  # a layer is made when it is first asked for
            raise ValueError(
                f"OpenCV can't make the network of '{path.name}': {reason(error)}",
                "check that network and weights belong together, and that OpenCV knows the layers",
            ) from error
        for (name, found), kind in zip(blobs.items(), self._types, strict=True):
            if path.suffix == ".caffemodel" and kind in WEIGHTED and not found:
                raise ValueError(
                    f"'{path.name}' has no weights for the layer '{name}' of the network",
                    "check that it is a .caffemodel, and of this very network",
                )
        floats = [blob for found in blobs.values() for blob in found if blob.dtype.kind == "f"]
        self._facts = {
            "parameters": sum(blob.size for blob in floats),
            "size_bytes": sum(blob.nbytes for blob in floats),
            "device": "cpu",
            "dtype": "float32",
        }
        self._outputs = list(net.getUnconnectedOutLayersNames())
        self._output_shapes = self._trial(net, model["inputs"], path)
        self._nets.give(None, net)
        if threads is not None:
            THREADS.want(self, threads)

    def _trial(
        self, net: cv2.dnn.Net, inputs: Sequence[Mapping[str, Any]], path: Path
    ) -> Mapping[str, tuple[int, ...]] | None:
        """The shapes of one sample's outputs by name; None where the inputs' shapes aren't known beforehand."""
        if any(None in shape for shape in self._shapes.values()):
            return None
        sample = {spec["name"]: np.zeros((1, *spec["shape"]), spec["dtype"]) for spec in inputs}
        try:
            outputs = self._run(net, sample)
        except cv2.error as error:
            given = ", ".join(f"{name} {array.dtype} {shown(array.shape)}" for name, array in sample.items())
            raise ValueError(
                f"OpenCV can't run '{path.name}' on {given}: {reason(error)}",
                "check the model asset's input, and that network and weights belong together",
            ) from error
        return {name: output.shape[1:] for name, output in outputs.items()}

    def describe(self) -> Mapping[str, Any]:
        return self._facts

    def predict(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shape = self._checked(batch)
        if not shape[0][0]:
            return self._empty()
        nets = self._open()
        net = nets.take(shape)
        outputs = self._run(net, batch)
        nets.give(shape, net)
        return outputs

    @contextmanager
    def observe(self, level: str, batch: Mapping[str, np.ndarray]) -> Iterator[Watched]:
        """OpenCV times its layers at all times, so nothing is to be switched on."""
        yield Watched(self, level != "framework")

    def watched(self, batch: Mapping[str, np.ndarray], layers: bool) -> tuple[dict[str, np.ndarray], list[Span]]:
        """Outputs and spans."""
        shape = self._checked(batch)
        if not shape[0][0]:
            return self._empty(), []
        nets = self._open()
        net = nets.take(shape)
        begin = perf_counter_ns()
        for name, inner in self._inputs:
            net.setInput(batch[name], inner)
        middle = perf_counter_ns()
        outputs = dict(zip(self._outputs, net.forward(self._outputs), strict=True))
        end = perf_counter_ns()
        spans: list[Span] = [("setInput", "framework", begin, middle, {}), ("forward", "framework", middle, end, {})]
        if layers:
            spans += self._layer_spans(net, shape, middle, end)
        nets.give(shape, net)
        return outputs, spans

    def close(self) -> None:
        self._nets = None
        THREADS.release(self)

    def _run(self, net: cv2.dnn.Net, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, inner in self._inputs:
            net.setInput(batch[name], inner)
        return dict(zip(self._outputs, net.forward(self._outputs), strict=True))

    def _open(self) -> Nets:
        if self._nets is None:
            raise RuntimeError(f"model '{self._name}' is closed")
        return self._nets

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
        if self._output_shapes is None:
            raise ValueError(f"'{self._name}' has inputs of any size: an empty batch doesn't say the outputs' shapes")
        return {name: np.empty((0, *shape), np.float32) for name, shape in self._output_shapes.items()}

    def _layer_spans(
        self, net: cv2.dnn.Net, shapes: tuple[tuple[int, ...], ...], start: int, end: int
    ) -> Iterator[Span]:
        """The layers that ran, one after the other from ``start`` on: OpenCV tells durations alone.

        A layer that was fused into the one before has none.
        """
        _, ticks = net.getPerfProfile()
        scale = 1e9 / cv2.getTickFrequency()
        for name, count, attributes in zip(self._layers, ticks, self._attributes(net, shapes), strict=True):
            if count:
                stop = min(start + round(count * scale), end)
                yield name.removeprefix("onnx_node!"), "layer", start, stop, attributes
                start = stop

    def _attributes(self, net: cv2.dnn.Net, shapes: tuple[tuple[int, ...], ...]) -> Sequence[Mapping[str, Any]]:
        """What is known of each layer where the inputs have these shapes."""
        if shapes not in self._known:
            _, taken, given = net.getLayersShapes([list(shape) for shape in shapes])
            self._known[shapes] = [
                {
                    "mlms.layer.type": kind,
                    "mlms.layer.input_shapes": [shown(shape) for shape in inputs],
                    "mlms.layer.output_shapes": [shown(shape) for shape in outputs],
                }
                for kind, inputs, outputs in zip(self._types, taken[1:], given[1:], strict=True)
            ]  # the first of OpenCV's layers are the inputs
        return self._known[shapes]


class Watched:
    """A model whose predictions are told of."""

    def __init__(self, model: Model, layers: bool) -> None:
        self._model, self._layers = model, layers
        self._spans: list[list[Span]] = []

    def predict(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs, spans = self._model.watched(batch, self._layers)
        self._spans.append(spans)
        return outputs

    def take(self) -> list[list[Span]]:
        taken, self._spans = self._spans, []
        return taken


def fits(given: Sequence[int], wanted: Sequence[int | None]) -> bool:
    """Whether a shape is the one wanted, in which None is any length."""
    return len(given) == len(wanted) and all(
        length is None or length == there for there, length in zip(given, wanted, strict=True)
    )


def shown(shape: Sequence[Any]) -> str:
    """
    >>> shown((1, None, 8))
    '1x?x8'
    """
    return "x".join("?" if length is None else str(length) for length in shape)
