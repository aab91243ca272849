"""CNTK's models. Runs in a worker, in Python 3.6: imports nothing of mlms."""

import contextlib
import ctypes
import importlib.util
import os
import re
import sys
import tempfile
import threading
import time
import warnings

import numpy as np

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
OPEN_MPI = {
    "libmpi.so.12": ("libmpi.so.40", "libmpi.so.20"),
    "libmpi_cxx.so.1": ("libmpi_cxx.so.40", "libmpi_cxx.so.20"),
}
"""What CNTK was linked with, Open MPI 1.10, and the names of later ones, whose calls it takes as well."""
TIMING = re.compile(r"^(\S+)\s+forward avg ([0-9.]+)s.*fwd# (\d+)", re.MULTILINE)


def devices():
    """CNTK itself is imported by ``load``, as it takes its number of threads from the environment then."""
    return ["cpu"]


def describe():
    return {"version": _cntk().__version__, "threads": _threads()}


def load(model, weights, device, options):
    """``weights`` is a file that CNTK has saved (.model, .dnn), or ONNX (.onnx)."""
    if options.get("dtype", "float32") != "float32":
        raise ValueError("cntk computes in float32 here, not in {}".format(options["dtype"]), "use dtype float32")
    if weights is None:
        raise ValueError("cntk can't make up weights", "give the model's file as its weights: {file: ...}")
    _set_threads(options.get("threads"))
    return Model(_cntk(), weights, model)


def _threads():
    return int(os.environ.get(THREADS[0]) or os.cpu_count())


def _set_threads(threads):
    """OpenMP and MKL read their number of threads once, when they are loaded."""
    if threads is None or threads == _threads():
        return
    if "cntk" in sys.modules:
        raise ValueError("cntk runs with {} threads in this process".format(_threads()), "use isolation: venv")
    for variable in THREADS:
        os.environ[variable] = str(threads)


def _cntk():
    """The module, imported once Open MPI's libraries can be found under the names it asks for."""
    if "cntk" not in sys.modules:
        _link_open_mpi()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other systems than Ubuntu 16.04, and of libraries for GPUs
            import cntk

            cntk.device.try_set_default_device(cntk.device.cpu())
            cntk.logging.set_trace_level(cntk.logging.TraceLevel.Error)
    return sys.modules["cntk"]


def _link_open_mpi():
    """Links by the old names in CNTK's own folder of libraries: the loader looks there, and reads no other path now."""
    spec = importlib.util.find_spec("cntk")
    if spec is None:
        raise ImportError("there is no cntk in this environment")
    folder = os.path.join(os.path.dirname(spec.origin), "libs")
    for wanted, others in OPEN_MPI.items():
        if _loads(wanted):
            continue
        there = next((other for other in others if _loads(other)), None)
        if there is None:
            raise ValueError(
                "cntk needs Open MPI, whose {} is not on this machine".format(others[0]),
                "install it (Debian, Ubuntu 22.04: apt-get install libopenmpi3; Ubuntu 24.04: libopenmpi3t64), "
                "or export the model to ONNX and run it with mlms-onnxruntime",
            )
        _link(_path_of(there), os.path.join(folder, wanted))


def _loads(name):
    try:
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _path_of(name):
    """Where a loaded library was found."""
    with open("/proc/self/maps") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if "/" in line}
    return next(path for path in sorted(paths) if (os.path.basename(path) + ".").startswith(name + "."))


def _link(target, link):
    """Make it, or make it anew where it leads elsewhere; other workers may be doing the same."""
    if os.path.exists(link) and os.path.samefile(link, target):
        return
    made = "{}.{}".format(link, os.getpid())
    os.symlink(target, made)
    os.replace(made, link)


class Model:
    """A function that CNTK has loaded."""

    def __init__(self, cntk, path, model):
        self._cntk, self._path, self._device = cntk, path, cntk.device.cpu()
        kind = cntk.ModelFormat.ONNX if path.endswith(".onnx") else cntk.ModelFormat.CNTKv2
        try:
            self._function = cntk.Function.load(path, device=self._device, format=kind)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ValueError(
                "{} is no model that CNTK {} reads: {}".format(path, cntk.__version__, _first_line(error)),
                "save it with Function.save; of ONNX it reads operator sets up to 9, in files named .onnx",
            ) from error
        self._inputs = {spec["name"]: (spec["dtype"], tuple(spec["shape"])) for spec in model["inputs"]}
        self._lock = threading.Lock()
        self._sizes = [parameter.value.size for parameter in self._function.parameters]
        self._bind(self._function)
        # CNTK builds the network when it is first run.
        self.predict(
            {name: np.zeros([1] + [a or 1 for a in shape], kind) for name, (kind, shape) in self._inputs.items()}
        )

    def _bind(self, function):
        """The function's variables by the asset's names; one input goes by any name."""
        arguments = {argument.name: argument for argument in function.arguments}
        if len(arguments) == len(self._inputs) == 1:
            arguments = dict(zip(self._inputs, arguments.values()))
        if set(arguments) != set(self._inputs):
            raise ValueError(
                "{} takes {}; the asset has {}".format(
                    self._path, ", ".join(arguments) or "no input", ", ".join(self._inputs)
                ),
                "give the model asset's inputs the model's names",
            )
        for name, argument in arguments.items():
            shape, wanted = tuple(argument.shape), self._inputs[name][1]
            if len(shape) != len(wanted) or any(a >= 0 and b not in (a, None) for a, b in zip(shape, wanted)):
                raise ValueError("{} takes '{}' of shape {}; the asset has {}".format(self._path, name, shape, wanted))
        self._arguments = arguments
        self._outputs = [(output.name or output.uid, output) for output in function.outputs]

    def predict(self, batch):
        self._check(batch)
        with self._lock:
            return self._evaluated(self._function, self._arguments, batch)

    def _evaluated(self, function, arguments, batch):
        given = {arguments[name]: batch[name] for name in arguments}
        if not len(next(iter(batch.values()))):  # with which CNTK divides by zero
            return {name: np.empty((0,) + tuple(output.shape), np.float32) for name, output in self._outputs}
        found = function.eval(given, device=self._device)
        if len(self._outputs) == 1:
            return {self._outputs[0][0]: np.asarray(found)}
        return {name: np.asarray(found[output]) for name, output in self._outputs}

    def _check(self, batch):
        for name, (_, shape) in self._inputs.items():
            if name not in batch:
                raise ValueError("input '{}' is missing; given are {}".format(name, ", ".join(batch) or "none"))
            given = batch[name].shape
            if len(given) != len(shape) + 1 or any(b not in (a, None) for a, b in zip(given[1:], shape)):
                raise ValueError(
                    "input '{}' is of shape (batch, {}), not {}".format(name, ", ".join(map(str, shape)), given)
                )

    def describe(self):
        return {"parameters": sum(self._sizes), "size_bytes": 4 * sum(self._sizes), "device": "cpu", "dtype": "float32"}

    def close(self):
        with self._lock:
            self._function, self._arguments, self._outputs = None, {}, []

    @contextlib.contextmanager
    def observe(self, level, batch):
        """CNTK's timing of nodes on. It is of networks that are built from then on, so the function is built anew.

        It can't be turned off (in 2.7 that fails), but the network from before isn't timed.
        """
        before = self._function, self._arguments, self._outputs
        self._cntk.debugging.set_node_timing(True)
        try:
            self._function = self._function.clone(self._cntk.CloneMethod.share)
            self._bind(self._function)
            watched = Watched(self, self._function)
            self.predict(batch)
            watched.timings()
            yield watched
            watched.settle()
        finally:
            self._function, self._arguments, self._outputs = before


class Watched:
    def __init__(self, model, function):
        self._model, self._function = model, function
        self._taken, self._waiting = [], None
        self._nodes = _nodes(function)

    def predict(self, batch):
        self.settle()
        start = _now()
        outputs = self._model.predict(batch)
        self._waiting = start, len(next(iter(batch.values())))
        return outputs

    def take(self):
        self.settle()
        taken, self._taken = self._taken, []
        return taken

    def settle(self):
        """Ask what the nodes of the last prediction took; CNTK tells no beginnings, so they follow each other."""
        if self._waiting is None:
            return
        (start, size), self._waiting = self._waiting, None
        spans = []
        durations = self.timings()
        for node in sorted(durations, key=_age):  # a node is made after those that it takes, so this is the order
            name, attributes = self._described(node, size)
            spans.append((name, "layer", start, start + durations[node], attributes))
            start += durations[node]
        self._taken.append(spans)

    def timings(self):
        """ns by node since the last call. CNTK prints them, with µs for digits, and begins anew."""
        sys.stderr.flush()
        kept = os.dup(2)
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                self._function.print_node_timing()
            finally:
                os.dup2(kept, 2)
                os.close(kept)
            file.seek(0)
            text = file.read().decode("utf-8", "replace")
        return {node: round(float(mean) * int(count) * 1e6) * 1000 for node, mean, count in TIMING.findall(text)}

    def _described(self, uid, size):
        node = self._nodes.get(uid)
        if node is None:
            return uid, {}
        shape = "x".join(map(str, (size,) + tuple(node.outputs[0].shape)))
        return node.name or uid, {"mlms.layer.type": node.op_name, "mlms.layer.output_shapes": [shape]}


def _nodes(function):
    from cntk.logging.graph import depth_first_search

    found = depth_first_search(function.root_function, lambda node: hasattr(node, "op_name"), depth=-1)
    return {node.uid: node for node in found}


def _age(uid):
    """Numbers in uids count up in the order in which nodes are made."""
    digits = re.search(r"\d+$", uid)
    return int(digits.group()) if digits else 0


def _now():
    return int(time.perf_counter() * 1e9)  # Python 3.6 has no perf_counter_ns


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
