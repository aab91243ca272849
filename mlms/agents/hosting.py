"""The models that an agent hosts: loaded from the catalog, predicted with, unloaded; what callers are told of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlms.agents.tensors import NAMES
from mlms.errors import FetchError, InputError, MlmsError, OutOfMemoryError, ProcessError
from mlms.executor.binding import bind_framework
from mlms.executor.loading import LoadedModel, load_model
from mlms.executor.provision import provision_weights
from mlms.hooks.types import Batch, Observable, Outputs
from mlms.manifests.types import Evaluation, TensorSpec
from mlms.tracing.levels import LEVELS, depth
from mlms.tracing.recorder import Part, Recorder, match

if TYPE_CHECKING:
    from mlms.hooks.components import Components
    from mlms.manifests.fetch import FetchSettings
    from mlms.progress import Progress

READY, LOADING, UNAVAILABLE = "READY", "LOADING", "UNAVAILABLE"
"""States of a model, in the words of the protocol's model repository."""

DEEPEST = "layer"
"""What is below layers comes from profilers that report when they are off, not with each prediction."""

AgentSpan = tuple[str, str, int, int, Mapping[str, Any]]
"""Name, level, start and end (ns of ``perf_counter_ns``), attributes."""


class Refusal(Exception):
    """What a caller is told in place of an answer; ``code`` is the name of a gRPC status."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Closed(Exception):
    """The model was unloaded, or loaded anew, after it was looked up."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """An output as it is told to callers: ``shape`` has the batch first; -1 is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass
class Listed:
    """A model that may be hosted, and how it stands. ``reason`` says why it is not ready."""

    name: str
    version: str = ""
    state: str = UNAVAILABLE
    reason: str = "not loaded"
    hosted: Hosted | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while it is loaded or unloaded."""


class Host:
    """Loads, keeps and unloads models. ``find`` resolves a listed model's reference; callers may ask for listed ones
    only."""

    def __init__(
        self,
        references: Sequence[str],
        find: Callable[[str], Evaluation],
        components: Components,
        labels: Callable[[str], tuple[str, ...]],
        fetch: FetchSettings,
        progress: Progress,
        *,
        at_start: bool = True,
        disclose: bool = False,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Raises InputError where two references are of one name.

        With ``at_start`` all are loaded by ``load_first``, else each when a caller asks for it. ``disclose`` tells
        callers of software and machine. ``log`` takes what they aren't told of failures.
        """
        self._find, self._components, self._labels, self._fetch = find, components, labels, fetch
        self._progress, self._at_start = progress, at_start
        self.disclose = disclose
        self.log = log
        self._references: dict[str, str] = {}
        for reference in references:
            name = reference.partition("@")[0]
            if self._references.setdefault(name, reference) != reference:
                raise InputError(
                    f"model '{name}' is named in two versions", hint="callers know a model by its name: serve one"
                )
        self._listed = {name: Listed(name) for name in self._references}

    @property
    def listed(self) -> Sequence[Listed]:
        return list(self._listed.values())

    def load_first(self) -> None:
        """Load what the agent starts with. Raises MlmsError where one can't be loaded."""
        for name in self._listed if self._at_start else ():
            self.load(name)

    def load(self, name: str) -> None:
        """Load a listed model, or load it anew: the one that is there answers until the new one can.

        Raises:
            Refusal: it isn't listed.
            MlmsError: it can't be loaded.
        """
        entry = self._entry(name)
        with entry.lock:
            if entry.hosted is None:
                entry.state, entry.reason = LOADING, "being loaded"
            try:
                evaluation = self._find(self._references[name])
                bound = bind_framework(evaluation, self._components, self._labels, self._progress)
                weights = provision_weights(evaluation.model, self._fetch, self._progress)
                loaded = load_model(evaluation, bound, weights, self._progress)
                try:
                    hosted = Hosted(evaluation, loaded, bound.framework.levels, bound.installed, self.log)
                except BaseException:
                    loaded.__exit__()
                    raise
            except BaseException as error:
                if entry.hosted is None:
                    why = str(error) if self.disclose else "the agent's log says why"
                    entry.state, entry.reason = UNAVAILABLE, f"it can't be loaded: {why}"
                raise
            former, entry.hosted = entry.hosted, hosted
            entry.version, entry.state, entry.reason = evaluation.model.version, READY, ""
            if former is not None:
                self._close(former)

    def unload(self, name: str) -> None:
        """Unload a listed model once what it is doing is done; one that isn't loaded stays so."""
        entry = self._entry(name)
        with entry.lock:
            self._drop(entry, "unloaded")

    def hosted(self, name: str, version: str = "") -> Hosted:
        """A model that is ready.

        Raises:
            Refusal: it isn't listed, not in this version, or not ready.
        """
        entry = self._entry(name, version)
        hosted = entry.hosted
        if hosted is None:
            raise Refusal("UNAVAILABLE", f"model '{name}' is not ready: {entry.reason}")
        return hosted

    def ready(self, name: str, version: str = "") -> bool:
        return self._entry(name, version).hosted is not None

    def close(self) -> None:
        """Unload all."""
        for entry in self._listed.values():
            self.unload(entry.name)

    def told(self, hosted: Hosted, error: Exception) -> Refusal:
        """What a caller is told of a prediction that failed; the log has it whole. A dead worker's model is dropped."""
        name = hosted.name
        self.log(f"model '{name}' failed: {error}")
        if isinstance(error, ProcessError):
            entry = self._listed[name]
            with entry.lock:
                if entry.hosted is hosted:
                    self._drop(entry, "its worker process ended; load it anew")
            return Refusal("UNAVAILABLE", self._worded(f"the worker process of model '{name}' ended", error))
        if isinstance(error, OutOfMemoryError):
            return Refusal("RESOURCE_EXHAUSTED", self._worded(f"model '{name}' ran out of memory", error))
        if isinstance(error, InputError):
            return Refusal("INVALID_ARGUMENT", self._worded(f"model '{name}' refused the input", error))
        return Refusal("INTERNAL", self._worded(f"model '{name}' failed to predict", error))

    def told_of_loading(self, name: str, error: MlmsError) -> Refusal:
        self.log(f"model '{name}' can't be loaded: {error}")
        code = "UNAVAILABLE" if isinstance(error, FetchError | ProcessError) else "FAILED_PRECONDITION"
        code = "RESOURCE_EXHAUSTED" if isinstance(error, OutOfMemoryError) else code
        return Refusal(code, self._worded(f"model '{name}' can't be loaded", error))

    def _worded(self, message: str, error: Exception) -> str:
        """Messages of errors hold paths and versions, which are the agent's own."""
        return f"{message}: {error}" if self.disclose else f"{message}; the agent's log says more"

    def _drop(self, entry: Listed, reason: str) -> None:
        hosted, entry.hosted = entry.hosted, None
        entry.state, entry.reason = UNAVAILABLE, reason
        if hosted is not None:
            self._close(hosted)

    def _close(self, hosted: Hosted) -> None:
        """Give its memory back; a model whose worker is dead may not be stopped as it should."""
        try:
            hosted.close()
        except MlmsError as error:
            self.log(f"model '{hosted.name}' was closed: {error}")

    def _entry(self, name: str, version: str = "") -> Listed:
        entry = self._listed.get(name)
        if entry is None:
            known = ", ".join(sorted(self._listed)[:20])
            raise Refusal("NOT_FOUND", f"there is no model '{name}' here; there is {known}")
        if version and entry.version and version != entry.version:
            raise Refusal("NOT_FOUND", f"model '{name}' has no version '{version}' here; there is {entry.version}")
        return entry


class Hosted:
    """A loaded model that answers callers, several at a time."""

    def __init__(
        self,
        evaluation: Evaluation,
        model: LoadedModel,
        levels: Sequence[str],
        installed: str,
        log: Callable[[str], None],
    ) -> None:
        self.name, self.version = evaluation.model.name, evaluation.model.version
        self.inputs: tuple[TensorSpec, ...] = evaluation.model.input
        self.outputs: tuple[OutputSpec, ...] = ()
        self._model, self._levels = model, levels
        self._gate = _Gate()
        self._watching: _Watching | None = None
        self._closed = False
        about = model.describe()
        self.facts: Mapping[str, str] = {
            "framework": evaluation.framework.name,
            "framework_version": installed,
            **{key: str(about[key]) for key in ("device", "dtype", "parameters", "size_bytes") if key in about},
        }
        """What is only told where the agent discloses it."""
        self._learn_outputs(log)

    def predict(self, batch: Batch, level: str = "none") -> tuple[Outputs, Sequence[AgentSpan]]:
        """The outputs, and the spans of the prediction and of what lies below it down to ``level``.

        A model that is observed is slower. So it is observed for as long as callers ask for levels below "framework",
        one prediction at a time, and as others call it, it isn't any more.

        Raises:
            Closed: the host has dropped it meanwhile.
            MlmsError: it failed.
        """
        deepest = min(level, self._levels[-1], DEEPEST, key=depth)
        if depth(deepest) > depth("framework") and isinstance(self._model.predictor, Observable):
            with self._gate.alone():
                outputs, spans = self._watched(deepest, batch).predict(self._model, batch)
            self._note_outputs(outputs)
            return outputs, spans
        if self._watching is not None:
            with self._gate.alone():
                self._stop_watching()
        with self._gate.shared():
            self._check_open()
            start = perf_counter_ns()
            outputs = self._model.predict(batch)
            end = perf_counter_ns()
        self._note_outputs(outputs)
        return outputs, [("predict", "framework", start, end, {})]

    def close(self) -> None:
        """Give memory back, once all predictions have ended; later ones are refused."""
        with self._gate.alone():
            if not self._closed:
                self._closed = True
                try:
                    self._stop_watching()
                finally:
                    self._model.__exit__()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed

    def _watched(self, level: str, batch: Batch) -> _Watching:
        self._check_open()
        if self._watching is None or self._watching.level != level:
            self._stop_watching()
            self._watching = _Watching(self._model, level, batch)
        return self._watching

    def _stop_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.close()

    def _learn_outputs(self, log: Callable[[str], None]) -> None:
        """A model asset doesn't say what comes out, so one sample of zeros is predicted; it warms the model up too."""
        if any(length is None for spec in self.inputs for length in spec.shape):
            return  # what its free dimensions may be only callers know: the first answer shows
        zeros = {spec.name: np.zeros((1, *map(_known, spec.shape)), spec.dtype) for spec in self.inputs}
        try:
            self._note_outputs(self._model.predict(zeros))
        except MlmsError as error:
            log(f"model '{self.name}' doesn't say what its outputs are until it is called: {error}")

    def _note_outputs(self, outputs: Outputs) -> None:
        if self.outputs:
            return
        free = any(length is None for spec in self.inputs for length in spec.shape)
        noted = []
        for name, value in outputs.items():
            try:
                array: npt.NDArray[Any] = np.asarray(value)
            except ValueError:  # entries of several shapes, such as the boxes of each image
                noted.append(OutputSpec(name, "", (-1,)))
                continue
            datatype = "BYTES" if array.dtype.kind in "OUS" else NAMES.get(array.dtype.name, "")
            noted.append(OutputSpec(name, datatype, (-1, *((-1 if free else length) for length in array.shape[1:]))))
        self.outputs = tuple(noted)


class _Watching:
    """A model being observed down to ``level``, one prediction at a time."""

    def __init__(self, model: LoadedModel, level: str, batch: Batch) -> None:
        self.level = level
        self._recorder = Recorder()
        self._recorder.reported_at_once = 1
        self._stack = ExitStack()
        self._stack.enter_context(model.observed(self._recorder, level, batch))

    def predict(self, model: LoadedModel, batch: Batch) -> tuple[Outputs, Sequence[AgentSpan]]:
        start = perf_counter_ns()
        outputs = model.predict(batch)
        end = perf_counter_ns()
        if model.checkpoint is not None:
            model.checkpoint()
        below = [span for part in self._recorder.take() for span in self._spans(part) if span[2] >= start]
        return outputs, [("predict", "framework", start, end, {}), *below]

    def close(self) -> None:
        self._stack.close()

    def _spans(self, part: Part) -> Iterator[AgentSpan]:
        """What was recorded, but for the prediction itself, which the caller has a span for."""
        spans = match(part.events)
        predicts = any(self._recorder.names[identifier].level == "model" for identifier in spans.identifier.tolist())
        thread = {} if predicts else {"thread.id": part.thread}
        columns = (spans.identifier, spans.start, spans.end, spans.occurrence)
        for identifier, start, end, call in zip(*(column.tolist() for column in columns), strict=True):
            name = self._recorder.names[identifier]
            if name.level != "model" and name.level in LEVELS:
                further = name.calls[call] if call < len(name.calls) else {}
                yield name.text, name.level, start, end, {**name.attributes, **further, **thread}


class _Gate:
    """Lets many through together, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True  # from here on nobody else comes in
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


def _known(length: int | None) -> int:
    assert length is not None
    return length
