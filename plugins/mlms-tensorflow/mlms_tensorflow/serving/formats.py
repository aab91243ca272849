"""Model files, each made one concrete function that takes the model's inputs by name and gives outputs by name."""

import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from .archives import unpack

LARGEST_GRAPH = 2_000_000_000
"""Bytes of constants that a GraphDef can hold."""
TAKEN = "it takes a Keras file (.keras), a SavedModel packed as .zip or .tar.gz, and a frozen GraphDef (.pb)"


@dataclass
class Opened:
    """A model file that was read.

    ``run`` takes tensors in the order of ``specs``, a ``tf.TensorSpec`` for each of the file's inputs, and gives
    tensors by name. ``kept`` is what must live as long as ``run``.
    """

    run: Any
    specs: list
    parameters: int
    size_bytes: int
    kept: list = field(default_factory=list)


def opened(model, weights, options):
    """The model of the file ``weights`` as a ``Program``; ValueError names the file and the mend."""
    name = Path(weights).name
    try:
        found = _reader(weights)(weights, options)
        return Program(found, _matched(model["inputs"], found.specs, name), options)
    except ValueError as error:
        if len(error.args) == 2:  # ours
            raise
        raise ValueError(f"{name} can't be run by TensorFlow {tf.__version__}: {error}", TAKEN) from error
    except (tf.errors.OpError, OSError, TypeError, KeyError) as error:
        raise ValueError(f"{name} can't be run by TensorFlow {tf.__version__}: {error}", TAKEN) from error


class Program:
    """A model ready to run: ``function(**tensors)`` gives tensors by name, ``specs`` are its inputs by name."""

    def __init__(self, found, order, options):
        self.specs = {
            name: tf.TensorSpec(found.specs[place].shape, found.specs[place].dtype, name)
            for name, place in order.items()
        }
        places = sorted(order, key=order.get)
        self.parameters, self.size_bytes = found.parameters, found.size_bytes
        self._kept = found.kept
        self.function = self._concrete(lambda tensors: found.run([tensors[name] for name in places]), options)
        if options.get("freeze"):
            self.function = self._concrete(_constant(self.function, self.size_bytes), options)

    def graph_for(self, shapes):
        """The graph as it is for inputs of these shapes, flat and without variables; None where it would be too large.

        It tells what the operations are, and is not what is run.
        """
        if self.size_bytes > LARGEST_GRAPH:
            return None
        run = tf.function(lambda **tensors: self.function(**tensors), autograph=False)
        specs = {name: tf.TensorSpec(shapes[name], spec.dtype, name) for name, spec in self.specs.items()}
        definition = _frozen(run.get_concrete_function(**specs)).graph.as_graph_def()
        with tf.Graph().as_default() as graph:
            tf.graph_util.import_graph_def(definition, name="")
        return graph

    def _concrete(self, run, options):
        @tf.function(jit_compile=True if options.get("jit_compile") else None, autograph=False)
        def function(**tensors):
            return {name: _standard(name, tensor) for name, tensor in run(tensors).items()}

        return function.get_concrete_function(**self.specs)

    def close(self):
        self.function = None
        for each in self._kept:
            if hasattr(each, "cleanup"):
                each.cleanup()
        self._kept = []


def _frozen(function):
    """A concrete function with its variables made constants, and the functions that it calls put in place."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function)


def _constant(function, size_bytes):
    """What runs ``function`` with its variables made constants."""
    if size_bytes > LARGEST_GRAPH:
        raise ValueError(f"a model of {size_bytes} bytes can't be frozen: a graph holds 2 GB", "leave freeze out")
    frozen = _frozen(function)
    graph, names = frozen.graph.as_graph_def(), sorted(function.structured_outputs)

    def run(tensors):
        given = {each.name: tensors[each.op.name] for each in frozen.inputs}
        found = tf.graph_util.import_graph_def(graph, given, [each.name for each in frozen.outputs], name="")
        return dict(zip(names, found, strict=True))

    return run


def _standard(name, tensor):
    """A tensor of a type that NumPy has itself."""
    if tensor.dtype == tf.bfloat16:
        return tf.cast(tensor, tf.float32)
    if not (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool):
        raise ValueError(
            f"output '{name}' is of type {tensor.dtype.name}, which is no number",
            "export the model, or name a signature or outputs, without it",
        )
    return tensor


def _reader(weights):
    """What reads a file, by what is in it rather than by its name."""
    path = Path(weights)
    with path.open("rb") as file:
        start = file.read(8)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as entries:
            names = {name.rpartition("/")[2] for name in entries.namelist()}
        if "saved_model.pb" in names:
            return _saved_model
        if {"config.json", "metadata.json"} <= names:
            return _keras
        raise ValueError(f"{path.name} is a zip archive of neither a SavedModel nor a Keras model", TAKEN)
    if start.startswith(b"\x89HDF"):
        raise ValueError(
            f"{path.name} is an HDF5 file, Keras's old format",
            "load it with tf.keras.models.load_model where it is trusted, and save it as .keras",
        )
    if start[4:8] == b"TFL3":
        raise ValueError(f"{path.name} is a LiteRT (TFLite) model", "name the framework litert in its asset")
    if tarfile.is_tarfile(path):
        return _saved_model
    return _graph


def _keras(weights, options):
    path = Path(weights)
    if path.suffix != ".keras":
        raise ValueError(f"{path.name} is a Keras file, which Keras reads by the name .keras only", "rename it")
    try:
        model = tf.keras.models.load_model(weights, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError) as error:
        text = str(error)
        if "Lambda" in text or "safe_mode" in text or "unsafe" in text:
            raise ValueError(
                f"{path.name} holds Python code of its own (a Lambda layer), which is not run",
                "rebuild the model with layers of Keras in place of it, or export it as a SavedModel",
            ) from error
        raise ValueError(
            f"{path.name} can't be read by Keras {tf.keras.__version__}: {text}",
            "save it with that version or an older one, without layers of your own, or export a SavedModel",
        ) from error
    specs = [tf.TensorSpec(each.shape, each.dtype, each.name) for each in model.inputs]

    # A Sequential has one output and no names for it.
    names = getattr(model, "output_names", None) or [model.layers[-1].name]

    def run(tensors):
        outputs = model(tensors[0] if len(tensors) == 1 else tensors, training=False)
        if isinstance(outputs, dict):
            return outputs
        return dict(zip(names, tf.keras.tree.flatten(outputs), strict=True))

    size = sum(variable.value.dtype.size * int(np.prod(variable.shape)) for variable in model.weights)
    return Opened(run, specs, model.count_params(), size, [model])


def _saved_model(weights, options):
    name = Path(weights).name
    folder = tempfile.TemporaryDirectory(prefix="mlms-savedmodel-")
    unpack(weights, folder.name)
    found = sorted(Path(folder.name).rglob("saved_model.pb"))
    if len(found) != 1:
        raise ValueError(f"{name} holds {len(found)} SavedModels (files saved_model.pb), not one", "pack one folder")
    model = tf.saved_model.load(str(found[0].parent))
    wanted = options.get("signature", "serving_default")
    if wanted not in model.signatures:
        there = ", ".join(sorted(model.signatures)) or "none"
        raise ValueError(
            f"{name} has no signature '{wanted}'; it has {there}",
            "name one in options: {signature: ...}" if model.signatures else "save it with signatures",
        )
    signature = model.signatures[wanted]
    keywords = signature.structured_input_signature[1]
    # A signature's own order of inputs is that of its graph.
    order = [tensor.name.rpartition(":")[0] for tensor in signature.inputs if tensor.dtype != tf.resource]
    graph_names = {spec.name: key for key, spec in keywords.items()}
    names = [graph_names[each] for each in order if each in graph_names]
    names = names if len(names) == len(keywords) else list(keywords)
    specs = [tf.TensorSpec(keywords[key].shape, keywords[key].dtype, key) for key in names]

    def run(tensors):
        return signature(**dict(zip(names, tensors, strict=True)))

    variables = {id(each): each for each in signature.variables}.values()
    count = sum(int(np.prod(each.shape)) for each in variables)
    size = sum(int(np.prod(each.shape)) * each.dtype.size for each in variables)
    return Opened(run, specs, count, size, [model, folder])


def _graph(weights, options):
    path = Path(weights)
    content = path.read_bytes()
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(content)
    except DecodeError as error:
        if _is_saved_model(content):
            raise ValueError(
                f"{path.name} is a SavedModel without the folder that its variables lie in",
                "pack the whole folder as .zip or .tar.gz",
            ) from error
        raise ValueError(f"{path.name} is no TensorFlow model", TAKEN) from error
    if not graph.node:
        raise ValueError(f"{path.name} is no TensorFlow model, or one without operations", TAKEN)
    stateful = sorted({node.op for node in graph.node if node.op in ("VariableV2", "VarHandleOp", "Variable")})
    if stateful:
        raise ValueError(
            f"{path.name} is a graph with variables ({', '.join(stateful)}), which are not in the file",
            "freeze it, or export a SavedModel",
        )
    constants = [node.attr["value"].tensor for node in graph.node if node.op == "Const"]
    floats = [each for each in constants if tf.as_dtype(each.dtype).is_floating]
    shapes = [[axis.size for axis in each.tensor_shape.dim] for each in floats]
    counts = [int(np.prod(shape)) for shape in shapes]
    size = sum(count * tf.as_dtype(each.dtype).size for count, each in zip(counts, floats, strict=True))

    placed = tf.Graph()
    with placed.as_default():
        tf.graph_util.import_graph_def(graph, name="")
    operations = placed.get_operations()
    inputs = [_tensor(placed, name, path.name, "inputs") for name in options.get("inputs", ())]
    inputs = inputs or [each.outputs[0] for each in operations if each.type == "Placeholder"]
    outputs = [_tensor(placed, name, path.name, "outputs") for name in options.get("outputs", ())]
    outputs = outputs or [
        tensor for each in operations for tensor in each.outputs if not tensor.consumers() and each.type != "Const"
    ]
    for kind, tensors in (("inputs", inputs), ("outputs", outputs)):
        if not tensors:
            raise ValueError(f"{path.name} has no {kind} that can be found", f"name them in options: {{{kind}: [...]}}")
    specs = [tf.TensorSpec(each.shape, each.dtype, each.op.name) for each in inputs]
    # "logits:0" is "logits" to the user; only further outputs of one operation need their number.
    names = [each.name[:-2] if each.name.endswith(":0") else each.name for each in outputs]

    def run(tensors):
        given = {each.name: tensor for each, tensor in zip(inputs, tensors, strict=True)}
        found = tf.graph_util.import_graph_def(graph, given, [each.name for each in outputs], name="")
        return dict(zip(names, found, strict=True))

    return Opened(run, specs, sum(counts), size)


def _is_saved_model(content):
    try:
        return bool(SavedModel.FromString(content).meta_graphs)
    except DecodeError:
        return False


def _tensor(graph, name, file, option):
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{file} has no tensor '{name}', which options name among its {option}",
            "names are like 'image:0'; leave the option out to have them found",
        ) from error


def _matched(wanted, specs, file):
    """The place among ``specs`` of each of the asset's inputs: by name where all names agree, else in order.

    Raises ValueError where the asset's inputs aren't the file's.
    """
    if len(wanted) != len(specs):
        names = ", ".join(spec.name for spec in specs)
        raise ValueError(
            f"{file} takes {len(specs)} inputs ({names}), its asset has {len(wanted)}", "mend input in the asset"
        )
    by_name = {spec.name: place for place, spec in enumerate(specs)}
    named = set(by_name) == {each["name"] for each in wanted}
    order = {each["name"]: by_name[each["name"]] if named else place for place, each in enumerate(wanted)}
    for each in wanted:
        spec = specs[order[each["name"]]]
        shape = tf.TensorShape([None, *each["shape"]])
        if spec.dtype.name != each["dtype"] or not spec.shape.is_compatible_with(shape):
            raise ValueError(
                f"{file} takes '{each['name']}' as {spec.dtype.name} {spec.shape}, its asset has it as "
                f"{each['dtype']} {shape}",
                "mend input in the asset; its shape is one sample's, without the batch",
            )
    return order
