"""A serving module that breaks the rule that the option ``fault`` names."""

import contextlib
import os
import time

import numpy as np

from mlms.errors import ProcessError

KEPT = []
LAST = {"fault": None}


def devices():
    return ["cpu"]


def describe():
    return {"threads": 1} if LAST["fault"] == "no-version" else {"version": np.__version__, "threads": 1}


def load(model, weights, device, options):
    fault = LAST["fault"] = options.get("fault")
    if options["dtype"] != "float32" and fault != "any-dtype":
        if fault == "another-error":
            raise RuntimeError("no such dtype")
        raise ValueError(f"no dtype {options['dtype']}", *(() if fault == "no-hint" else ("use float32",)))
    try:
        with np.load(weights) as stored:
            matrix = stored["matrix"]
    except (ValueError, EOFError) as error:
        if fault == "takes-rubbish":
            matrix = np.zeros((64, 10), np.float32)
        else:
            raise ValueError("no matrix" if fault == "unnamed-file" else f"{weights} holds no matrix") from error
    if fault == "keeps-memory":
        KEPT.append(np.ones(4 << 20, np.float32))
    made = Model(model["inputs"][0]["name"], matrix, fault)
    if fault != "not-observable":
        made.observe = made.observed
    if fault == "odd-device-memory":
        made.device_peak_bytes = lambda: "much"
    return made


class Model:
    def __init__(self, name, matrix, fault):
        self.name, self.matrix, self.fault = name, matrix, fault
        self.closed = self.broken = False
        self.buffer = {}
        self.random = np.random.default_rng(0)

    def predict(self, batch):
        values, fault = batch[self.name], self.fault
        if self.broken:
            raise RuntimeError("broken for good")
        if values.dtype.kind == "U":
            self.text()
            values = np.zeros(values.shape, np.float32)
        if fault == "reads-bytes":
            values = np.frombuffer(values.tobytes(), np.float32)[: values.size].reshape(values.shape)
        if fault == "wants-contiguous" and not values.flags.c_contiguous:
            raise ValueError("not contiguous")
        if fault == "writes":
            values[...] = values + 0
        if fault == "changes-input":
            values[:1] += 1
        if fault == "one-for-empty" and not len(values):
            values = np.zeros((1, 64), np.float32)
        if fault == "shared-state":
            self.values = values
            time.sleep(0.005)
            values = self.values
        rows = values.reshape(len(values), values[0].size if len(values) else 64)
        if fault == "any-shape":
            rows = rows[:, :64]
        if fault == "vague" and rows.shape[1] != 64:
            raise ValueError("bad input")
        return self.outputs(rows @ self.matrix)

    def text(self):
        if self.fault == "hangs-on-text":
            time.sleep(10)
        if self.fault == "dies-on-text":
            raise ProcessError("the worker is gone")
        if self.fault == "breaks-on-text":
            self.broken = True
        if self.fault != "answers-text":
            raise TypeError("text is no number")

    def outputs(self, scores):
        fault = self.fault
        if fault == "no-outputs":
            return {}
        if fault == "one-for-all":
            scores = scores.sum(axis=0, keepdims=True)
        if fault == "text-outputs":
            scores = scores.astype(str)
        if fault == "swapped-bytes":
            scores = scores.astype(">f4")
        if fault == "no-array":
            scores = memoryview(np.ascontiguousarray(scores[:, 0]))
        if fault == "whole-batch" and len(scores):
            scores = scores - scores.mean(axis=0)
        if fault == "random":
            scores = scores + self.random.standard_normal(scores.shape)
        if fault == "one-buffer":
            kept = self.buffer.setdefault(len(scores), scores)
            kept[...] = scores
            scores = kept
        return {"scores": scores}

    def flops(self, batch):
        return 1000 - len(batch[self.name]) if self.fault == "fewer-flops" else len(batch[self.name])

    def describe(self):
        facts = {"parameters": 640, "size_bytes": 2560, "device": "cpu", "dtype": "float32"}
        if self.fault == "no-size":
            del facts["size_bytes"]
        if self.fault == "odd-facts":
            facts["shape"] = {1, 2}
        if self.fault == "no-count":
            facts["parameters"] = "many"
        if self.fault == "leaves-worker":
            facts["worker_pid"] = os.getpid()
        return facts

    def close(self):
        if self.closed and self.fault == "closes-once":
            raise RuntimeError("closed already")
        self.closed = True

    @contextlib.contextmanager
    def observed(self, level, batch):
        yield Watched(self, level)


class Watched:
    def __init__(self, model, level):
        self.model, self.level, self.taken = model, level, []

    def predict(self, batch):
        start = time.perf_counter_ns()
        outputs = self.model.predict(batch)
        end = time.perf_counter_ns()
        fault = self.model.fault
        if fault == "another-answer":
            outputs = {"scores": outputs["scores"] + 1}
        if fault == "another-clock":
            start, end = 1000, 2000
        kind = {} if fault == "no-type" else {"mlms.layer.type": "MatMul"}
        spans = [("run", "framework", start, end, {}), ("multiply", "layer", start + 1, end - 1, kind)]
        self.taken.append([] if fault == "no-spans" else spans[: 1 if self.level == "framework" else 2])
        return outputs

    def take(self):
        taken, self.taken = self.taken, []
        return taken
