"""What a plugin author implements: the Protocols and the values that pass between them.

One sample's way: ``Dataset`` gives a ``Sample``; each preprocess ``Processor`` turns its value into the next; the last
one's values are stacked into a ``Batch``; the ``Predictor`` answers ``Outputs``; these are split by sample and each
postprocess ``Processor`` turns one sample's output into the prediction that ``Metric.update`` takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from mlms.manifests.types import DatasetAsset, ModelAsset

T_co = TypeVar("T_co", covariant=True)

NO_OPTIONS: Mapping[str, Any] = {"type": "object", "additionalProperties": False}
"""The JSON Schema of a component that takes no options."""

Batch = Mapping[str, npt.NDArray[Any]]
"""The model's inputs by name, each of shape (batch, *TensorSpec.shape) and the dtype of its TensorSpec."""

Outputs = Mapping[str, Any]
"""The model's outputs by name: arrays of shape (batch, ...), or sequences with one entry a sample."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a component may know about the evaluation it is made for.

    ``model`` and ``dataset`` are None where a component is made outside of an evaluation (``mlms predict`` has no
    dataset). ``labels`` looks a label list up by name and raises UnknownNameError when there is none.
    """

    labels: Callable[[str], tuple[str, ...]]
    model: ModelAsset | None = None
    dataset: DatasetAsset | None = None
    seed: int = 0


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
    DataError when a model's outputs don't fit the dataset's labels; it is called once, with the first batch's.
    """

    name: str
    metrics: tuple[str, ...]
    describe: Callable[[Any], Mapping[str, Any]]
    check: Callable[[Outputs, DatasetAsset], None]


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
        """Answer one batch. Returns when the outputs are in host memory, all device work done."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Facts for the record: ``parameters`` (count), ``size_bytes``, ``device``, ``dtype``, and the like."""
        ...

    def close(self) -> None:
        """Give memory back. May be called twice."""
        ...


@runtime_checkable
class Framework(Protocol):
    """A runtime that executes models."""

    levels: tuple[str, ...]
    """The trace levels it can serve."""

    def load(self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]) -> Predictor:
        """Build the model and load ``weights`` (a local, verified file; None when ``model`` asks for random ones).

        ``device`` is "cpu", "cuda", "cuda:N" or "auto". ``options`` has been checked against the component's schema.

        Raises:
            DeviceError: this machine has no such device.
            InputError: the factory is not allowed or can't be imported, or the weights don't fit the model.
            ModelError: the factory raised.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Facts for the record: versions, build, threads, devices and drivers."""
        ...
