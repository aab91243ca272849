"""Apache MXNet's symbols, bound to their parameters. Runs in a worker: imports nothing of mlms; Python 3.6 or later."""

import bisect
import contextlib
import json
import os
import re
import sys
import tempfile
import threading
import time

import numpy as np

BOUND = 8
"""So many batch sizes are kept bound."""
REPORTED = 64
"""The profile is read after so many predictions, since writing and reading it takes milliseconds."""

EVENT = re.compile(r"\{[^{}]*\}")


def devices():
    """MXNet itself is imported by ``load``, as it takes its number of threads from the environment then."""
    return ["cpu"]


def describe():
    import mxnet

    return {
        "version": mxnet.__version__,
        "threads": _threads(),
        "mkldnn": mxnet.runtime.Features().is_enabled("MKLDNN"),
    }


def load(model, weights, device, options):
    """``weights`` is the file of parameters (.params), ``files["symbol"]`` that of the network (-symbol.json)."""
    if options.get("dtype", "float32") != "float32":
        raise ValueError("mxnet computes in float32 here, not in {}".format(options["dtype"]), "use dtype float32")
    if "symbol" not in model["files"]:
        raise ValueError(
            "model '{}' has no symbol".format(model["name"]),
            "name the file ...-symbol.json in the model asset: source: {files: {symbol: {file: ...}}}",
        )
    _set_threads(options.get("threads"))
    import mxnet

    symbol = _read(mxnet.sym.load, model["files"]["symbol"], "symbol (...-symbol.json)")
    stored = {} if weights is None else _read(mxnet.nd.load, weights, "file of parameters (.params)")
    if not isinstance(stored, dict):
        raise ValueError("{} holds parameters without names".format(weights), "save them with Module.save_checkpoint")
    parameters = {name.split(":", 1)[-1]: array for name, array in stored.items()}
    return Model(mxnet, symbol, parameters, model, seed=model["seed"] if weights is None else None)


def _read(reader, path, what):
    import mxnet

    try:
        return reader(path)
    except (mxnet.base.MXNetError, UnicodeDecodeError) as error:
        lines = [line for line in str(error).splitlines() if line and not line.startswith("Stack trace")]
        raise ValueError(
            "{} is no {} that MXNet {} reads: {}".format(path, what, mxnet.__version__, lines[-1] if lines else error),
            "export it with Module.save_checkpoint or HybridBlock.export",
        ) from error


def _threads():
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count())


def _set_threads(threads):
    """OpenMP reads its number of threads once, when it is loaded."""
    if threads is None or threads == os.environ.get("OMP_NUM_THREADS"):
        return
    if "mxnet" in sys.modules and threads != _threads():
        raise ValueError("mxnet runs with {} threads in this process already".format(_threads()), "use isolation: venv")
    os.environ["OMP_NUM_THREADS"] = str(threads)


class Model:
    """A symbol and its parameters; bound anew for each batch size, with the same parameters."""

    def __init__(self, mxnet, symbol, parameters, model, seed):
        self._mxnet, self._symbol = mxnet, symbol
        self._inputs = {spec["name"]: (spec["dtype"], tuple(spec["shape"])) for spec in model["inputs"]}
        self.outputs = symbol.list_outputs()
        unknown = [name for name in self._inputs if name not in symbol.list_arguments()]
        if unknown:
            free = [name for name in symbol.list_inputs() if name not in parameters]
            raise ValueError(
                "the symbol of model '{}' has no input '{}'; what isn't in its parameters is {}".format(
                    model["name"], unknown[0], ", ".join(free) or "nothing"
                ),
                "give the model asset's inputs the symbol's names",
            )
        self._parameters = self._completed(parameters, seed)
        self._bound = {}
        self._lock = threading.Lock()
        self._bind_first()

    def predict(self, batch):
        with self._lock:
            return self._forward(self._executor(batch, True), batch)

    def _forward(self, executor, batch):
        if executor is None:
            return self._empty(batch)
        for name in self._inputs:
            executor.arg_dict[name][:] = batch[name]
        outputs = executor.forward(is_train=False)
        return {name: output.asnumpy() for name, output in zip(self.outputs, outputs)}

    def _executor(self, batch, bulk):
        """For the batch's shapes; None for an empty batch. ``bulk``: operators may run several at a time."""
        shapes = tuple(batch[name].shape if name in batch else () for name in self._inputs)
        found = self._bound.get((shapes, bulk))
        if found is None:
            self._check(batch)
            if not shapes[0][0]:
                return None
            while len(self._bound) >= BOUND:
                del self._bound[next(iter(self._bound))]
            found = self._bound[shapes, bulk] = self._bind(dict(zip(self._inputs, shapes)), bulk)
        return found

    def _bind(self, shapes, bulk):
        mx = self._mxnet
        arrays = {name: mx.nd.empty(shape, dtype=self._inputs[name][0]) for name, shape in shapes.items()}
        labels, _, _ = self._shapes(shapes)
        for name, shape in labels.items():
            if name not in self._parameters and name not in arrays:
                arrays[name] = mx.nd.zeros(shape)  # a training label, which the outputs don't depend on
        arguments = {name: arrays.get(name, self._parameters.get(name)) for name in self._symbol.list_arguments()}
        states = {name: self._parameters[name] for name in self._symbol.list_auxiliary_states()}
        # MXNet reads this when it binds
        before = os.environ.get("MXNET_EXEC_BULK_EXEC_INFERENCE")
        os.environ["MXNET_EXEC_BULK_EXEC_INFERENCE"] = "1" if bulk else "0"
        try:
            return self._symbol.bind(mx.cpu(), arguments, grad_req="null", aux_states=states)
        except mx.base.MXNetError as error:
            raise ValueError("the parameters don't fit the symbol: {}".format(_first_line(error))) from error
        finally:
            if before is None:
                del os.environ["MXNET_EXEC_BULK_EXEC_INFERENCE"]
            else:
                os.environ["MXNET_EXEC_BULK_EXEC_INFERENCE"] = before

    def _shapes(self, shapes):
        """The shapes of arguments, outputs and auxiliary states by name."""
        try:
            arguments, outputs, states = self._symbol.infer_shape(**shapes)
        except self._mxnet.base.MXNetError as error:
            raise ValueError(
                "the symbol can't take inputs of the asset's shapes: {}".format(_first_line(error))
            ) from error
        names = self._symbol.list_arguments(), self.outputs, self._symbol.list_auxiliary_states()
        return [dict(zip(*pair)) for pair in zip(names, (arguments, outputs, states))]

    def _one(self):
        """Shapes of a batch of one, free dimensions being 1 as well."""
        return {name: tuple([1] + [size or 1 for size in shape]) for name, (_, shape) in self._inputs.items()}

    def _completed(self, parameters, seed):
        """Random parameters where there is a ``seed``; otherwise all but labels have to be there."""
        arguments, _, states = self._shapes(self._one())
        wanted = dict(arguments, **states)
        missing = [name for name in wanted if name not in parameters and name not in self._inputs]
        if seed is not None:
            random = np.random.RandomState(seed)
            fan = {name: max(1, int(np.prod(wanted[name][1:]))) for name in missing}
            made = {name: random.standard_normal(wanted[name]) / fan[name] ** 0.5 for name in missing}
            return {name: self._mxnet.nd.array(array, dtype="float32") for name, array in made.items()}
        missing = [name for name in missing if not name.endswith("label")]
        if missing:
            raise ValueError(
                "the parameters lack '{}', which the symbol takes".format("', '".join(missing)),
                "take the .params and -symbol.json files of one export",
            )
        return parameters

    def _bind_first(self):
        """So that what doesn't fit is refused when the model is loaded."""
        shapes = self._one()
        self._bound[tuple(shapes.values()), True] = self._bind(shapes, True)

    def _check(self, batch):
        for name, (_, shape) in self._inputs.items():
            if name not in batch:
                raise ValueError("input '{}' is missing; given are {}".format(name, ", ".join(batch) or "none"))
            given = batch[name].shape
            if len(given) != len(shape) + 1 or any(b not in (a, None) for a, b in zip(given[1:], shape)):
                raise ValueError(
                    "input '{}' is of shape (batch, {}), not {}".format(name, ", ".join(map(str, shape)), given)
                )

    def _empty(self, batch):
        shapes = {name: (1,) + batch[name].shape[1:] for name in self._inputs}
        _, outputs, _ = self._shapes(shapes)
        return {name: np.empty((0,) + tuple(outputs[name][1:]), np.float32) for name in self.outputs}

    def describe(self):
        arrays = self._parameters.values()
        return {
            "parameters": sum(array.size for array in arrays),
            "size_bytes": sum(array.size * np.dtype(array.dtype).itemsize for array in arrays),
            "device": "cpu",
            "dtype": "float32",
        }

    def close(self):
        with self._lock:
            self._bound.clear()
            self._parameters.clear()

    @contextlib.contextmanager
    def observe(self, level, batch):
        """MXNet's profiler on, with operators run one by one; only one model of a process can be observed."""
        with tempfile.TemporaryDirectory(prefix="mlms-mxnet-") as folder:
            path = os.path.join(folder, "profile.json")
            profiler = self._mxnet.profiler
            self._executor(batch, False)  # bound now, so that this isn't profiled
            profiler.set_config(profile_symbolic=True, profile_imperative=True, filename=path, continuous_dump=False)
            profiler.set_state("run")
            watched = Watched(self, self._mxnet, level, path)
            try:
                yield watched
            finally:
                try:
                    watched.read()
                finally:
                    profiler.set_state("stop")

    def observed(self, batch):
        with self._lock:
            executor = self._executor(batch, False)
            return executor, self._forward(executor, batch)


class Watched:
    """Its spans: layers are the nodes of the graph as MXNet has optimised it, operators what its engine ran."""

    def __init__(self, model, mxnet, level, path):
        self._model, self._mxnet, self._level, self._path = model, mxnet, level, path
        self._waiting, self._taken, self._nodes = [], [], {}

    def predict(self, batch):
        wall, start = time.time(), time.perf_counter()
        executor, outputs = self._model.observed(batch)
        self._waiting.append((wall, start, executor))
        return outputs

    def take(self):
        if len(self._waiting) >= REPORTED:
            self.read()
        taken, self._taken = self._taken, []
        return taken

    def read(self):
        """Read what was profiled since the last time; the profiler is to be stopped for it."""
        if not self._waiting:
            return
        self._mxnet.nd.waitall()
        self._mxnet.profiler.set_state("stop")
        self._mxnet.profiler.dump(False)
        self._mxnet.profiler.set_state("run")
        with open(self._path) as file:
            # One object an event; only the first file that a process writes is JSON as a whole.
            events = [json.loads(event) for event in EVENT.findall(file.read())]
        begins = [wall * 1e6 for wall, _, _ in self._waiting]
        found = [[] for _ in begins]
        for name, start, end in _complete(events):
            found[max(0, bisect.bisect_right(begins, start) - 1)].append((name, start, end))
        for (wall, start, executor), operators in zip(self._waiting, found):
            shift = int(start * 1e9) - int(wall * 1e9)  # from time of day in us to the performance counter
            timed = [(name, int(a * 1000) + shift, int(b * 1000) + shift) for name, a, b in operators]
            self._taken.append(self._spans(timed, executor))
        self._waiting = []

    def _spans(self, operators, executor):
        """The nodes run in the graph's order: the operator is the next node's if it is of its kind."""
        nodes = iter(self._graph(executor))
        node = next(nodes, None)
        spans = []
        for name, start, end in sorted(operators, key=lambda operator: operator[1]):
            if node is not None and name == node["op"]:
                attributes = {"mlms.layer.type": name}
                if node["shape"] is not None:
                    attributes["mlms.layer.output_shapes"] = [node["shape"]]
                spans.append((node["name"], "layer", start, end, attributes))
                node = next(nodes, None)
            if self._level != "layer":
                spans.append((name, "operator", start, end, {}))
        return spans

    def _graph(self, executor):
        """The nodes of an executor's graph in their order, without variables."""
        if executor is None:
            return []
        if executor not in self._nodes:
            symbol = executor.get_optimized_symbol()
            everyone = json.loads(symbol.tojson())["nodes"]
            shapes = self._output_shapes(symbol, executor)
            self._nodes[executor] = [
                {"name": node["name"], "op": node["op"], "shape": shapes.get(node["name"] + "_output")}
                for node in everyone
                if node["op"] != "null"
            ]
        return self._nodes[executor]

    def _output_shapes(self, symbol, executor):
        inside = symbol.get_internals()
        given = {name: array.shape for name, array in executor.arg_dict.items() if name in symbol.list_inputs()}
        _, shapes, _ = inside.infer_shape_partial(**given)
        return {
            name: "x".join(map(str, shape))
            for name, shape in zip(inside.list_outputs(), shapes or [])
            if shape and all(shape)
        }


def _complete(events):
    """Name, start and end (us) of the operators, whose begins and ends come in pairs for each thread."""
    open_ones = {}
    for event in events:
        if event.get("cat") != "operator":
            continue
        key = event["pid"], event["tid"], event["name"]
        if event["ph"] == "B":
            open_ones.setdefault(key, []).append(event["ts"])
        elif event["ph"] == "E" and open_ones.get(key):
            yield event["name"], open_ones[key].pop(), event["ts"]


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if "Check failed" in line or line.startswith("Error in operator")]
    return (useful or lines or ["MXNet gave no reason"])[-1]
