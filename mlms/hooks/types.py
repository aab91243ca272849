"""What a plugin author implements: the Protocols and the values that pass between them.

One sample's way: ``Dataset`` gives a ``Sample``; each preprocess ``Processor`` turns its value into the next; the last
one's values are stacked into a ``Batch``; the ``Predictor`` answers ``Outputs``; these are split by sample and each
postprocess ``Processor`` turns one sample's output into the prediction that ``Metric.update`` takes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from mlms.manifests.types import DatasetAsset, ModelAsset

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mlms.environments.environment import Environment
    from mlms.runs.run import Run
    from mlms.tracing.recorder import Recorder

T_co = TypeVar("T_co", covariant=True)

NO_OPTIONS: Mapping[str, Any] = {"type": "object", "additionalProperties": False}
"""The JSON Schema of a component that takes no options."""

Batch: TypeAlias = "Mapping[str, npt.NDArray[Any]]"
"""The model's inputs by name, each of shape (batch, *TensorSpec.shape) and the dtype of its TensorSpec."""

Outputs = Mapping[str, Any]
"""The model's outputs by name: arrays of shape (batch, ...), or sequences with one entry a sample."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a component may know about the evaluation it is made for.

    ``model`` and ``dataset`` are None where a component is made outside of an evaluation (``mlms predict`` has no
    dataset). ``labels`` looks a label list up by name and raises UnknownNameError when there is none. ``device_uuid``
    ("GPU-...") and ``device`` ("cpu", "cuda:0") are for profilers: where the model was loaded to, None where it is on
    no such GPU or nothing is loaded; so is ``worker_pid``, the process that the model runs in where that isn't this
    one. ``environment`` is the virtual environment that a framework's worker runs in, None where it runs in this
    process; ``answer_timeout`` (s) is how long the worker may take over one answer.
    """

    labels: Callable[[str], tuple[str, ...]]
    model: ModelAsset | None = None
    dataset: DatasetAsset | None = None
    seed: int = 0
    device_uuid: str | None = None
    device: str | None = None
    worker_pid: int | None = None
    environment: Environment | None = None
    answer_timeout: float = 300.0


@dataclass(frozen=True, slots=True)
class Component(Generic[T_co]):
    """Something a plugin offers under a name.

    ``make(options, context)`` builds it and is where heavy packages are imported. ``options`` is the JSON Schema
    (draft 2020-12) that the YAML's options are checked against before ``make`` is called. ``summary`` is one line for
    ``mlms list`` and ``mlms plugins``.
    """

    name: str
    make: Callable[[Mapping[str, Any], Context], T_co]
    summary: str
    options: Mapping[str, Any] = field(default_factory=lambda: NO_OPTIONS)


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a dataset.

    ``id`` is stable across machines and unique in the dataset (a relative path, a row number). ``target`` is what the
    metrics of the task take (for image classification the class index), None where the dataset has none.
    """

    id: str
    value: Any
    target: Any = None


@dataclass(frozen=True, slots=True)
class Classification:
    """A classifier's answer for one sample.

    ``scores`` has shape (classes,), float. ``classes`` are the indices of the best scores, best first, and ``labels``
    their names (None without a label list).
    """

    scores: npt.NDArray[np.floating[Any]]
    classes: tuple[int, ...]
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What a model does: the contract between dataset, processors and metrics.

    ``metrics`` are computed when the manifest names none. ``describe(prediction)`` flattens one prediction into the
    columns of ``predictions.parquet`` (plain values and lists of them only). ``check(outputs, dataset)`` raises
    DataError when a model's outputs don't fit the dataset's labels, and gives a sentence to warn the user with where it
    only has doubts; it is called once, with the first batch's. Labels that a reader found (``NamesClasses``) stand in
    for those that the asset doesn't declare.
    """

    name: str
    metrics: tuple[str, ...]
    describe: Callable[[Any], Mapping[str, Any]]
    check: Callable[[Outputs, DatasetAsset], str | None]


@dataclass(frozen=True, slots=True)
class Roof:
    """The most that a device was measured to do: the roof over its models.

    ``flops_per_s`` is a large matrix product's, a multiply-add being two. ``bandwidths`` are (working set in bytes,
    bytes/s) by ascending size, of a triad ``c = a + x * b`` (two arrays read, one written; McCalpin's STREAM).
    """

    flops_per_s: float
    bandwidths: tuple[tuple[int, float], ...]

    @property
    def bandwidth(self) -> float:
        """Of the largest working set, which no cache holds; bytes/s."""
        return self.bandwidths[-1][1]

    def bandwidth_of(self, size: float) -> float:
        """The most for a working set of ``size`` bytes: between two measured sizes along the logarithm of the size.

        A smaller one is never slower: what says so measured the cost of a call.

        >>> Roof(1e9, ((1024, 5.0), (4096, 9.0), (16384, 3.0))).bandwidth_of(8192)
        6.0
        """
        rates = [max(rate for _, rate in self.bandwidths[index:]) for index in range(len(self.bandwidths))]
        sizes = [size for size, _ in self.bandwidths]
        after = bisect_left(sizes, size)
        if after in (0, len(sizes)):
            return rates[min(after, len(sizes) - 1)]
        part = math.log(size / sizes[after - 1]) / math.log(sizes[after] / sizes[after - 1])
        return rates[after - 1] + part * (rates[after] - rates[after - 1])


@runtime_checkable
class Processor(Protocol):
    """An operation on one sample's value; called from several threads at once, so it keeps no state."""

    def __call__(self, value: Any) -> Any: ...


@runtime_checkable
class Dataset(Protocol):
    """Samples by position; read from several threads at once.

    ``__getitem__`` raises DataError naming the file of a sample that can't be read.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@runtime_checkable
class NamesClasses(Protocol):
    """A dataset that may have this too: class names that it found in its files, where the asset declares no labels."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """In the order of the indices that are its samples' targets; None where it found no names."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A figure over many predictions. ``update`` takes as many predictions as targets, in the same order."""

    unit: str
    """"%" or another unit of ``compute``'s value; "" for a bare number."""

    def update(self, predictions: Sequence[Any], targets: Sequence[Any]) -> None: ...

    def compute(self) -> float: ...


@runtime_checkable
class Predictor(Protocol):
    """A loaded model."""

    def predict(self, batch: Batch) -> Outputs:
        """Answer one batch. Returns when the outputs are in host memory, all device work done.

        Called from several threads at once where the manifest sets ``scenario.workers``.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Facts for the record: ``parameters`` (count), ``size_bytes``, ``device``, ``dtype``, and the like.

        ``device_uuid`` ("GPU-...", on an NVIDIA GPU) says whose energy and memory in use are the model's.
        """
        ...

    def close(self) -> None:
        """Give memory back. May be called twice."""
        ...


class Watched(Protocol):
    """A predictor being observed."""

    def predict(self, batch: Batch) -> Outputs: ...


@runtime_checkable
class Checkpoints(Protocol):
    """What an observed predictor may have too, where it has to put away what it recorded every now and then."""

    def checkpoint(self) -> None:
        """Called after each prediction, in its thread, outside of any timing; other threads may be predicting."""
        ...


@runtime_checkable
class Observable(Protocol):
    """A predictor that has spans below the level "model"; its framework's ``levels`` say down to which."""

    def observe(self, recorder: Recorder, level: str, batch: Batch) -> AbstractContextManager[Watched]:
        """Record each prediction made through what the context gives, and what is below it down to ``level``.

        ``batch`` is one to describe the layers with; it may be predicted before anything is recorded. Nothing stays
        installed when the context ends.
        """
        ...


@runtime_checkable
class Profiler(Protocol):
    """Observes the system while a model runs; a manifest names it in ``profilers``.

    A machine that can't be observed (no GPU, a counter that the kernel keeps for root) is no error: ``attach`` then
    adds one line to ``recorder.notes`` that says what is off, why, and the mend.
    """

    level: str
    """The trace level that its spans or counters are of. It is also on, unnamed, in a trace that goes down to there."""

    def attach(self, recorder: Recorder) -> AbstractContextManager[None]:
        """Observe for as long as the context is open: from before the model is observed until after the measurement.

        Sampled figures go to ``recorder.counters`` and device work to ``recorder.activities`` when the context ends;
        what ties device work to the span that launched it is put in ``recorder.correlation`` when it begins. Nothing is
        to run in the measuring process meanwhile that isn't needed there: sample from a process of its own.
        """
        ...


@runtime_checkable
class ForDevices(Protocol):
    """A profiler that may have this too: it is on by itself only for models on such devices."""

    devices: str
    """What the names of the devices begin with: "cuda"."""


@runtime_checkable
class Replays(Protocol):
    """A profiler that may have this too: figures that need predictions of their own, such as hardware counters."""

    def replay(self, predict: Callable[[], object], recorder: Recorder) -> None:
        """Add to what ``recorder`` has, calling ``predict`` as often as that takes.

        Called once, after the contexts of all profilers have ended and when nothing is observed or measured any more.
        ``predict`` is one prediction of a batch like those that were recorded, not recorded itself.
        """
        ...


@runtime_checkable
class CountsFlops(Protocol):
    """A predictor that may have this too; without it no FLOPs are reported."""

    def flops(self, batch: Batch) -> int | None:
        """Floating-point operations of predicting ``batch``, a multiply-add being two; None if it can't tell.

        Called outside of the measured region, after it; may predict.
        """
        ...


@runtime_checkable
class MeasuresRoof(Protocol):
    """A framework that may have this too; without it no analysis knows how far a model is from its bound."""

    def measure_roof(self, device: str, dtype: str, threads: int | None) -> Roof:
        """Measure, in some seconds, what models of ``dtype`` can reach at most on ``device`` with so many threads.

        Raises:
            DeviceError: this machine has no such device.
            InputError: ``dtype`` is none that the framework runs models in.
        """
        ...


@runtime_checkable
class TracksDeviceMemory(Protocol):
    """A predictor that may have this too; without it no device memory is reported from the framework."""

    def device_peak_bytes(self) -> int | None:
        """The most memory of the device that was allocated since the model was loaded; None on the host's."""
        ...


@runtime_checkable
class Framework(Protocol):
    """A runtime that executes models."""

    levels: tuple[str, ...]
    """The trace levels it can serve."""

    def load(self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]) -> Predictor:
        """Build the model and load ``weights`` (a local, verified file; None when ``model`` asks for random ones).

        ``device`` is "cpu", "cuda", "cuda:N" or "auto". ``options`` has been checked against the component's schema;
        beside its own there are ``packages`` (what a factory may be imported from), ``dtype``, ``threads`` and
        ``files`` (paths of the model's further files, by name).

        Raises:
            DeviceError: this machine has no such device.
            InputError: the factory is not allowed or can't be imported, or the weights don't fit the model.
            ModelError: the factory raised.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Facts for the record: versions, build, threads, devices and drivers."""
        ...


@runtime_checkable
class Exporter(Protocol):
    """Finished runs in the format of other tools: ``mlms export --format NAME``.

    A ``Run`` gives its record (``run.record``, as ``mlms schema run`` describes it), its frames (read when asked for)
    and its directory (``run.path``). Sections of a failed run's record may be null.
    """

    @property
    def writes(self) -> Literal["text", "folder", "elsewhere"]:
        """What comes out: one document; files below a folder; or something in a place that the options name."""
        ...

    def export(self, runs: Sequence[Run], target: Path | None) -> str:
        """Export one or more runs. Returns the document for "text", a line on what was made for the others.

        ``target`` is an empty folder for "folder", to be filled with what shall lie in the one that the user named;
        None for the others.

        Raises:
            InputError: a run lacks what the format can't do without.
            StorageError: a file of a run is missing, or the target can't be written.
        """
        ...
