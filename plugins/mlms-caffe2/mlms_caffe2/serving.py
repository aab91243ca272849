"""Caffe2's nets. Runs in a worker: imports nothing of mlms; Python 3.6 or later."""

import contextlib
import os
import sys
import threading
import time

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def devices():
    """Caffe2 itself is imported by ``load``, as it takes its number of threads from the environment then."""
    return ["cpu"]


def describe():
    from importlib import metadata

    return {"version": metadata.version("torch"), "threads": _threads()}  # Caffe2 doesn't need torch imported


def load(model, weights, device, options):
    """``weights`` is the init net, ``files["predict_net"]`` the network: NetDefs in protobuf's binary format."""
    if options.get("dtype", "float32") != "float32":
        raise ValueError("caffe2 computes in float32, not in {}".format(options["dtype"]), "use dtype float32")
    if "predict_net" not in model["files"]:
        raise ValueError(
            "model '{}' has no predict net".format(model["name"]),
            "name the file in the model asset: source: {files: {predict_net: {file: ...}}}",
        )
    if weights is None:
        raise ValueError("caffe2 can't make up weights", "give the init net as the model's weights: {file: ...}")
    _set_threads(options.get("threads"))
    init, predict = _read(weights, "init net"), _read(model["files"]["predict_net"], "predict net")
    return Model(init, predict, model)


def _read(path, what):
    from caffe2.proto import caffe2_pb2
    from google.protobuf.message import DecodeError

    net = caffe2_pb2.NetDef()
    with open(path, "rb") as file:
        content = file.read()
    try:
        net.ParseFromString(content)
    except DecodeError as error:
        raise ValueError(
            "{} is no {}: {}".format(path, what, error), "it is a NetDef in protobuf's binary format"
        ) from error
    if not net.op:
        raise ValueError("{} is no {}: it has no operators".format(path, what), "swap or export the files again")
    return net


def _threads():
    return int(os.environ.get(THREADS[0]) or os.cpu_count())


def _set_threads(threads):
    """OpenMP and MKL read their number of threads once, when they are loaded."""
    if threads is None or threads == _threads():
        return
    if "caffe2.python.workspace" in sys.modules:
        raise ValueError("caffe2 runs with {} threads in this process".format(_threads()), "use isolation: venv")
    for variable in THREADS:
        os.environ[variable] = str(threads)


class Model:
    """A network in a workspace of its own."""

    def __init__(self, init, predict, model):
        from caffe2.python import core, workspace

        core.GlobalInit(["caffe2", "--caffe2_log_level=2"])  # errors only
        self._workspace = workspace.C.Workspace()
        self._net_definition = predict
        self._inputs = {spec["name"]: (spec["dtype"], tuple(spec["shape"])) for spec in model["inputs"]}
        self._outputs = list(predict.external_output) or list(predict.op[-1].output[:1])
        self._lock = threading.Lock()
        self._fit(model["name"], init)
        self._blobs = {name: self._workspace.create_blob(name) for name in self._inputs}
        try:
            self._workspace._run_net(init.SerializeToString())
            self._sizes = [self._blob(name).size for name in self._stored if self._is_tensor(name)]
            self._net = self._created(predict)
        except RuntimeError as error:
            raise ValueError(
                "the nets of model '{}' don't fit each other: {}".format(model["name"], _first_line(error)),
                "take the init and the predict net of one export",
            ) from error

    def _fit(self, name, init):
        """All that the network takes has to be an input or made by the init net."""
        self._stored = [output for operator in init.op for output in operator.output]
        made, missing = set(self._stored) | set(self._inputs), []
        for operator in self._net_definition.op:
            missing += [each for each in operator.input if each not in made and each not in missing]
            made.update(operator.output)
        taken = {each for operator in self._net_definition.op for each in operator.input}
        unknown = [each for each in self._inputs if each not in taken]
        if missing or unknown:
            raise ValueError(
                "the predict net of model '{}' takes {}; the asset has the input {}".format(
                    name, ", ".join(missing) or "no further input", ", ".join(self._inputs)
                ),
                "give the asset's inputs the names of the net's, and take both nets of one export",
            )

    def _created(self, net):
        return self._workspace.create_net(net.SerializeToString(), True)

    def _is_tensor(self, name):
        return self._workspace.blobs[name].is_tensor()

    def _blob(self, name):
        return self._workspace.blobs[name].fetch()

    def predict(self, batch):
        with self._lock:
            self._feed(batch)
            self._net.run()
            return self._results()

    def _feed(self, batch):
        self._check(batch)
        for name, blob in self._blobs.items():
            blob.feed(batch[name])

    def _results(self):
        return {name: self._workspace.fetch_blob(name) for name in self._outputs}

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
        return {"parameters": sum(self._sizes), "size_bytes": self._bytes(), "device": "cpu", "dtype": "float32"}

    def _bytes(self):
        return sum(self._blob(name).nbytes for name in self._stored if self._is_tensor(name))

    def close(self):
        with self._lock:
            self._net = self._workspace = None
            self._blobs = {}

    @contextlib.contextmanager
    def observe(self, level, batch):
        """The operators run one at a time, each as a net of its own, and are timed.

        Caffe2's own observers give averages over all operators only, and its benchmark runs without the real inputs.
        """
        yield Watched(self, batch)

    def single(self, batch):
        """A net, its name and its attributes for each operator, in the order they run in."""
        from caffe2.proto import caffe2_pb2

        self.predict(batch)
        found = []
        for index, operator in enumerate(self._net_definition.op):
            net = caffe2_pb2.NetDef(name="{}/{}".format(self._net_definition.name, index), op=[operator])
            net.external_input.extend(operator.input)
            net.device_option.CopyFrom(self._net_definition.device_option)
            attributes = {
                "mlms.layer.type": operator.type,
                "mlms.layer.input_shapes": self._shapes(operator.input),
                "mlms.layer.output_shapes": self._shapes(operator.output),
            }
            found.append((self._created(net), operator.name or operator.output[0], attributes))
        return found

    def _shapes(self, names):
        return ["x".join(map(str, self._blob(name).shape)) for name in names if self._is_tensor(name)]

    def observed(self, batch, nets, now):
        """The outputs, and when each net began; and when the last ended."""
        with self._lock:
            self._feed(batch)
            times = [now()]
            for net, _, _ in nets:
                net.run()
                times.append(now())
            return self._results(), times


class Watched:
    def __init__(self, model, batch):
        self._model, self._taken = model, []
        self._nets = {}
        self._nets_for(batch)

    def predict(self, batch):
        nets = self._nets_for(batch)
        outputs, times = self._model.observed(batch, nets, time.perf_counter_ns)
        self._taken.append(
            [
                (name, "layer", start, end, attributes)
                for (_, name, attributes), start, end in zip(nets, times, times[1:])
            ]
        )
        return outputs

    def _nets_for(self, batch):
        """They differ in what they say of shapes."""
        key = tuple((name, array.shape) for name, array in batch.items())
        if key not in self._nets:
            self._nets[key] = self._model.single(batch)
        return self._nets[key]

    def take(self):
        taken, self._taken = self._taken, []
        return taken


def _first_line(error):
    return str(error).splitlines()[0].split("] ", 1)[-1]
