"""A framework made of a serving module, in this process or in a worker."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from mlms.errors import DeviceError, InputError, ModelError, OutOfMemoryError, PluginError
from mlms.serving.process import Worker
from mlms.tracing.reported import Reported, Reports

if TYPE_CHECKING:
    from mlms.environments.environment import Environment
    from mlms.hooks.types import Batch, Outputs
    from mlms.manifests.types import ModelAsset
    from mlms.serving.contract import ReportedSpan, Served, ServedWatched, ServingModule
    from mlms.tracing.recorder import Recorder

DEVICE_WORDS = {"gpu": "cuda:0", "cuda": "cuda:0"}


class ServedFramework:
    """Runs the models of ``module`` (dotted name): in a worker where there is an ``environment``, else in this
    process."""

    def __init__(
        self,
        name: str,
        module: str,
        levels: tuple[str, ...],
        environment: Environment | None = None,
        answer_timeout: float = 300.0,
    ) -> None:
        self.levels = ("application", "model", *levels)
        self._name, self._module = name, module
        self._environment, self._answer_timeout = environment, answer_timeout
        self._facts: Mapping[str, Any] = {}

    def load(
        self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]
    ) -> ServedPredictor | WorkerPredictor:
        """As ``mlms.hooks.Framework`` has it; ``options["files"]`` are the model's further files, by name.

        Raises:
            DeviceError: the runtime has no such device here.
            InputError: the module refused the model, its weights or its options.
            OutOfMemoryError, ModelError: loading failed.
            PluginError: the module can't be imported.
            ProcessError: the worker died or hung.
        """
        seed = model.source.weights.seed
        told = {
            "name": model.name,
            "inputs": [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in model.input],
            "factory": model.source.factory,
            "arguments": dict(model.source.arguments),
            "seed": seed,
            "files": dict(options.get("files", {})),
        }
        rest = {key: value for key, value in options.items() if key != "files"}
        path = None if weights is None else str(weights)
        if self._environment is not None:
            return self._in_worker(told, path, device, rest)
        return self._here(told, path, device, rest)

    def describe(self) -> Mapping[str, Any]:
        """What the module says of its runtime, and the environment's Python and packages where it has one."""
        if self._environment is None:
            return self._facts or self._imported().describe()
        about = {
            "name": self._environment.name,
            "python": self._environment.python,
            "packages": dict(self._environment.packages),
            "lock_sha256": self._environment.lock_sha256,
        }
        return {**self._facts, "environment": about}

    def _here(
        self, told: Mapping[str, Any], weights: str | None, device: str, options: Mapping[str, Any]
    ) -> ServedPredictor:
        module = self._imported()
        place = resolve(device, module.devices(), self._name)
        try:
            served = module.load(told, weights, place, options)
        except ValueError as error:
            raise refusal(error) from error
        except MemoryError as error:
            raise OutOfMemoryError(f"model '{told['name']}' doesn't fit into memory: {error}") from error
        self._facts = module.describe()
        return ServedPredictor(told["name"], served)

    def _in_worker(
        self, told: Mapping[str, Any], weights: str | None, device: str, options: Mapping[str, Any]
    ) -> WorkerPredictor:
        assert self._environment is not None
        worker = Worker(self._name, self._location(), self._environment, self._answer_timeout)
        try:
            place = resolve(device, worker.hello["devices"], self._name)
            facts = worker.ask("load", model=told, weights=weights, device=place, options=options)["value"]
        except BaseException:
            worker.close()
            raise
        self._facts = facts["framework"]
        return WorkerPredictor(told["name"], worker, facts["model"], facts["optional"])

    def _imported(self) -> ServingModule:
        try:
            module: Any = importlib.import_module(self._module)
        except ImportError as error:
            raise PluginError(
                f"framework '{self._name}' can't be imported where mlms runs: {error}",
                hint="install what it needs there, or give its asset an environment with isolation: venv",
            ) from error
        found: ServingModule = module
        return found

    def _location(self) -> Path:
        """The file of the module, or the folder of the package, found without importing it."""
        spec = importlib.util.find_spec(self._module)
        if spec is None or spec.origin is None:
            raise PluginError(f"the serving module '{self._module}' of framework '{self._name}' is not there")
        origin = Path(spec.origin)
        return origin.parent if origin.name == "__init__.py" else origin


def resolve(device: str, devices: Sequence[str], framework: str) -> str:
    """One of ``devices`` for what the manifest says; "auto" is the first.

    Raises:
        DeviceError: there is no such device.
    """
    if not devices:
        raise DeviceError(f"framework '{framework}' finds no device here that it runs on", hint="see its README")
    if device == "auto":
        return devices[0]
    named = [each for each in devices if each == device or each.startswith(f"{device}:")]  # "cuda" is the first of them
    if not named:
        raise DeviceError(
            f"framework '{framework}' has no device '{device}' here", hint=f"it has {', '.join(devices)}; or use auto"
        )
    return named[0]


def refusal(error: ValueError) -> InputError:
    """What a serving module says that the user can mend."""
    message, *rest = [str(argument) for argument in error.args] or [type(error).__name__]
    return InputError(message, hint=rest[0] if rest else None)


class ServedPredictor:
    """A model of a serving module in this process."""

    def __init__(self, name: str, served: Served) -> None:
        self._name, self._served = name, served
        self.predict: Callable[[Batch], Outputs] = served.predict
        for optional in ("flops", "device_peak_bytes"):
            if hasattr(served, optional):
                setattr(self, optional, getattr(served, optional))

    def describe(self) -> Mapping[str, Any]:
        return self._served.describe()

    def close(self) -> None:
        self._served.close()

    def observe(self, recorder: Recorder, level: str, batch: Batch) -> AbstractContextManager[Watching]:
        """Record each prediction, and below it what the runtime's profiler reports down to ``level``."""
        return observed(self._name, recorder, batch, lambda: self._watch(level, batch))

    @contextmanager
    def _watch(self, level: str, batch: Batch) -> Iterator[ServedWatched]:
        if not hasattr(self._served, "observe"):
            raise ModelError(f"'{self._name}' can't be observed, though its framework has the trace level {level}")
        with self._served.observe(level, batch) as watched:
            yield watched


class WorkerPredictor:
    """A model in a worker."""

    def __init__(self, name: str, worker: Worker, about: Mapping[str, Any], optional: Sequence[str]) -> None:
        self._name, self._worker, self._optional = name, worker, optional
        self._about = {**about, "worker_pid": worker.pid}

    def predict(self, batch: Batch) -> Outputs:
        return _outputs(self._worker.ask("predict", batch))

    def describe(self) -> Mapping[str, Any]:
        return self._about

    def flops(self, batch: Batch) -> int | None:
        if "flops" not in self._optional:
            return None
        counted: int | None = self._worker.ask("call", batch, name="flops")["value"]
        return counted

    def device_peak_bytes(self) -> int | None:
        if "device_peak_bytes" not in self._optional:
            return None
        peak: int | None = self._worker.ask("call", name="device_peak_bytes")["value"]
        return peak

    def close(self) -> None:
        self._worker.close()

    def observe(self, recorder: Recorder, level: str, batch: Batch) -> AbstractContextManager[Watching]:
        """The same; a span "worker" in between says how long the prediction took on the worker's side.

        On Linux ``perf_counter_ns`` is one clock for all processes, so its times need no alignment.
        """
        return observed(self._name, recorder, batch, lambda: self._watch(level, batch))

    @contextmanager
    def _watch(self, level: str, batch: Batch) -> Iterator[ServedWatched]:
        if "observe" not in self._optional:
            raise ModelError(f"'{self._name}' can't be observed, though its framework has the trace level {level}")
        self._worker.ask("observe", batch, level=level)
        watched = _InWorker(self._worker)
        yield watched
        watched.left = self._worker.ask("unobserve")["value"]


class _InWorker:
    """The watched model's two functions, asked of the worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.left: Sequence[Sequence[ReportedSpan]] | None = None
        """What was still to be taken when the worker stopped observing."""

    def predict(self, batch: Batch) -> Any:
        return _outputs(self._worker.ask("predict_watched", batch))

    def take(self) -> Sequence[Sequence[ReportedSpan]]:
        if self.left is not None:
            return self.left
        taken: Sequence[Sequence[ReportedSpan]] = self._worker.ask("take")["value"]
        return taken


def _outputs(reply: Mapping[str, Any]) -> Outputs:
    found = {**reply["outputs"], **reply["rest"]}
    return {name: found[name] for name in reply["order"]}


class Watching:
    """A model whose runtime reports what is below each prediction.

    Predictions are made one at a time, since a runtime's profiler doesn't say whose spans are whose.
    """

    def __init__(self, watched: ServedWatched, reports: Reports) -> None:
        self._watched, self._reports = watched, reports
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, int]] = []

    def predict(self, batch: Batch) -> Outputs:
        with self._lock:
            start = perf_counter_ns()
            outputs = self._watched.predict(batch)
            self._waiting.append((start, perf_counter_ns()))
        return outputs

    def checkpoint(self) -> None:
        with self._lock:
            self.take()

    def take(self) -> None:
        """Give the recorder the predictions that the runtime has reported of."""
        reported = self._watched.take()
        for (start, end), spans in zip(self._waiting, reported, strict=False):
            self._reports.add(start, end, (Reported(*span) for span in spans))
        del self._waiting[: len(reported)]

    def finish(self) -> None:
        """The same for all others; those that nothing was reported of are kept without."""
        self.take()
        for start, end in self._waiting:
            self._reports.add(start, end, ())
        self._reports.flush()


@contextmanager
def observed(
    name: str, recorder: Recorder, batch: Batch, watch: Callable[[], AbstractContextManager[ServedWatched]]
) -> Iterator[Watching]:
    """Record predictions of a model that ``watch`` observes."""
    size = max(len(array) for array in batch.values())
    reports = Reports(recorder, recorder.intern(f"predict {name}", "model", {"mlms.batch_size": size}))
    with ExitStack() as stack:
        watched = stack.enter_context(watch())
        watching = Watching(watched, reports)
        yield watching
        stack.close()  # a runtime may report only when its profiler is off
        watching.finish()
