"""A worker: hosts one model of a serving module, in whatever Python (3.6 or later) and environment it was started with.

``python -I FOLDER SOCKET MODULE SHARED``: listens at the Unix socket SOCKET and serves the module (a file or a
package's folder) MODULE, each connection in a thread of its own. It ends with its standard input, so with the process
that started it, and then removes the folders of the socket and of the shared memory, SHARED.
"""

import faulthandler
import importlib.util
import os
import shutil
import socket
import sys
import threading
import time
import traceback

import wire

if hasattr(time, "perf_counter_ns"):
    now = time.perf_counter_ns
else:

    def now():
        """Python 3.6 has no perf_counter_ns."""
        return int(time.perf_counter() * 1e9)


class Host:
    """The model, once it is loaded, and its watched self while it is observed."""

    def __init__(self, module):
        self.module = module
        self.model = None
        self.watching = None
        self.watched = None
        self.timed = []

    def hello(self, header, arrays):
        facts = {"python": "{}.{}.{}".format(*sys.version_info), "devices": list(self.module.devices())}
        return {"value": facts}, {}

    def load(self, header, arrays):
        self.model = self.module.load(header["model"], header["weights"], header["device"], header["options"])
        optional = [name for name in ("observe", "flops", "device_peak_bytes") if hasattr(self.model, name)]
        value = {"model": self.model.describe(), "framework": self.module.describe(), "optional": optional}
        return {"value": value}, {}

    def predict(self, header, arrays):
        return answer(self.model.predict(arrays))

    def observe(self, header, arrays):
        self.watching = self.model.observe(header["level"], arrays)
        self.watched = self.watching.__enter__()
        self.timed = []
        return {}, {}

    def predict_watched(self, header, arrays):
        start = now()
        outputs = self.watched.predict(arrays)
        self.timed.append((start, now()))
        return answer(outputs)

    def take(self, header, arrays):
        """Each prediction's spans, the first of them the prediction itself as this process saw it."""
        reported = [list(spans) for spans in self.watched.take()]
        timed, self.timed = self.timed[: len(reported)], self.timed[len(reported) :]
        own = [("worker", "framework", start, end, {}) for start, end in timed]
        return {"value": [[first] + spans for first, spans in zip(own, reported)]}, {}

    def unobserve(self, header, arrays):
        self.watching.__exit__(None, None, None)
        taken = self.take(header, arrays)
        self.watching = self.watched = None
        return taken

    def call(self, header, arrays):
        """One of the optional functions: ``flops`` of a batch, or ``device_peak_bytes``."""
        return {"value": getattr(self.model, header["name"])(*([arrays] if arrays else []))}, {}

    def close(self, header, arrays):
        if self.model is not None:
            self.model.close()
        return {}, {}


def answer(outputs):
    """Arrays as they are; sequences with an entry a sample as plain data."""
    arrays = {name: value for name, value in outputs.items() if hasattr(value, "dtype") and hasattr(value, "shape")}
    rest = {name: list(value) for name, value in outputs.items() if name not in arrays}
    return {"order": list(outputs), "rest": rest}, arrays


def serve(connection, host):
    """Answer one connection until it hangs up."""
    channel = wire.Channel(connection)
    with connection:
        while True:
            try:
                header, arrays = channel.receive()
            except (EOFError, OSError):
                return
            try:
                reply, outputs = getattr(host, header["do"])(header, arrays)
            except Exception as error:
                reply, outputs = {"error": described(error)}, {}
            try:
                channel.send(reply, outputs)
            except TypeError as error:  # an answer that can't be sent is the model's
                channel.send({"error": described(error)}, {})
            except OSError:
                return


def described(error):
    hint = str(error.args[1]) if isinstance(error, ValueError) and len(error.args) == 2 else None
    message = str(error.args[0]) if hint is not None else str(error)
    return {"type": type(error).__name__, "kinds": kinds(error), "message": message, "hint": hint,
            "traceback": traceback.format_exc()}  # fmt: skip


def kinds(error):
    """Which of the errors that a serving module may raise it is."""
    return [kind.__name__ for kind in (ValueError, MemoryError, ImportError) if isinstance(error, kind)]


def module_at(path):
    """Import a file, or a package by its folder, under the name ``serving``."""
    package = os.path.isdir(path)
    file = os.path.join(path, "__init__.py") if package else path
    spec = importlib.util.spec_from_file_location(
        "serving", file, submodule_search_locations=[path] if package else None
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["serving"] = module
    spec.loader.exec_module(module)
    return module


def end_with_parent(folders):
    """The folders are removed by the parent, but for one that was killed."""
    while os.read(0, 4096):
        pass
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def main(path, module, shared):
    faulthandler.enable()
    threading.Thread(target=end_with_parent, args=([os.path.dirname(path), shared],), daemon=True).start()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    connection, _ = listener.accept()
    try:
        host = Host(module_at(module))
    except Exception as error:
        channel = wire.Channel(connection)
        channel.receive()
        channel.send({"error": described(error)}, {})
        return
    threading.Thread(target=serve, args=(connection, host), daemon=True).start()
    while True:
        another, _ = listener.accept()
        threading.Thread(target=serve, args=(another, host), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
