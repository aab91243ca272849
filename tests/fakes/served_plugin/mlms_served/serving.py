"""A serving module that needs NumPy alone: outputs = inputs, flattened, times a matrix. Python 3.6 runs it."""

import contextlib
import os
import signal
import sys
import time

import numpy as np


def now():
    return time.perf_counter_ns() if hasattr(time, "perf_counter_ns") else int(time.perf_counter() * 1e9)


def devices():
    return ["cpu"]


def describe():
    return {"version": np.__version__, "threads": 1, "python": "{}.{}".format(*sys.version_info)}


def load(model, weights, device, options):
    if options.get("load") == "refuse":
        raise ValueError("the file is none of ours", "convert it")
    if options.get("load") == "memory":
        raise MemoryError("no room")
    if options.get("load") == "die":
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if options.get("dtype", "float32") != "float32":
        raise ValueError("linear models have no dtype {}".format(options["dtype"]), "use float32")
    spec = model["inputs"][0]
    if weights is not None:
        try:
            with np.load(weights) as stored:
                matrix = stored["matrix"]
        except (ValueError, EOFError) as error:
            raise ValueError("{} holds no matrix: {}".format(weights, error), "write it with numpy.savez") from error
    else:
        size = int(np.prod(spec["shape"]))
        matrix = np.random.RandomState(model["seed"]).standard_normal((size, 10)).astype(np.float32)
    return Model(spec["name"], matrix, options)


class Model:
    def __init__(self, name, matrix, options):
        self.name, self.matrix, self.options = name, matrix, options
        self.calls = 0

    def predict(self, batch):
        self.calls += 1
        wanted = self.options.get("fail_at")
        if wanted == self.calls:
            how = self.options.get("fail", "raise")
            if how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "hang":
                time.sleep(3600)
            raise RuntimeError("the runtime gave up")
        values = batch[self.name]
        return {"scores": values.reshape(len(values), -1) @ self.matrix}

    def describe(self):
        return {
            "parameters": self.matrix.size,
            "size_bytes": self.matrix.nbytes,
            "device": "cpu",
            "dtype": str(self.matrix.dtype),
        }

    def flops(self, batch):
        return 2 * len(batch[self.name]) * self.matrix.size

    @contextlib.contextmanager
    def observe(self, level, batch):
        watched = Watched(self)
        yield watched

    def close(self):
        self.matrix = self.matrix[:0]


class Watched:
    def __init__(self, model):
        self.model, self.taken = model, []

    def predict(self, batch):
        start = now()
        outputs = self.model.predict(batch)
        end = now()
        middle = (start + end) // 2
        self.taken.append(
            [
                ("flatten", "layer", start, middle, {"mlms.layer.type": "Flatten"}),
                ("multiply", "layer", middle, end, {"mlms.layer.type": "MatMul"}),
            ]
        )
        return outputs

    def take(self):
        taken, self.taken = self.taken, []
        return taken
