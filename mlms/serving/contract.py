"""What a serving module has: the whole of a framework plugin but its registration.

It imports nothing of mlms, so that a worker in another environment, with another Python (3.6 or later), can run it, and
takes and gives plain values only. ``mlms.hooks.served`` makes a framework of it.

What it raises is told to the user: ``ValueError(message)`` or ``ValueError(message, hint)`` for what the user can mend
(a file of the wrong format, weights that don't fit), ``MemoryError`` for want of memory, anything else for what failed
in the model or its runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]

ServedModel: TypeAlias = Mapping[str, Any]
"""``name``; ``inputs``: a list of ``name``, ``dtype`` and ``shape`` (of one sample; None is a free dimension);
``factory`` and ``arguments`` as the asset has them; ``seed`` for random weights, None where there are weights;
``files``: further files of the model, local and verified, by name.
"""

ReportedSpan: TypeAlias = "tuple[str, str, int, int, Mapping[str, Any]]"
"""A span that a runtime reports: name, trace level ("framework", "layer", "operator"), start and end in ns of
``time.perf_counter_ns``, attributes. A layer's are ``mlms.layer.type`` ("Conv"), and where known
``mlms.layer.input_shapes``, ``mlms.layer.output_shapes`` (["1x3x8x8"]), ``mlms.layer.flops``. Where a runtime works in
several threads, ``thread.id`` is a number for the span's: what they ran at once then lies side by side."""


class ServingModule(Protocol):
    """A module (or package) with these functions."""

    def devices(self) -> Sequence[str]:
        """The devices that models can run on here: "cpu", "cuda:0", ... The one to prefer comes first.

        None, or a ``ValueError`` that says what is missing, where there is none.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Facts for the record: at least ``version`` and ``threads``."""
        ...

    def load(self, model: ServedModel, weights: str | None, device: str, options: Mapping[str, Any]) -> Served:
        """Load a model.

        ``weights`` is a local, verified file. ``device`` is one of ``devices()``. ``options`` are those of the
        component's schema, ``dtype`` ("float32"), ``threads`` (None: the runtime's default) and ``packages`` (what a
        factory may be imported from).
        """
        ...


class Served(Protocol):
    """A loaded model. It may have ``observe``, ``flops(batch)`` and ``device_peak_bytes()`` as well."""

    def predict(self, batch: Arrays) -> Arrays:
        """Outputs by name, of shape (batch, ...), in host memory with all device work done. What it does is
        measured."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Facts for the record: ``parameters`` (a count), ``size_bytes``, ``device``, ``dtype``."""
        ...

    def close(self) -> None:
        """Give memory back. May be called twice."""
        ...


class ServedObservable(Protocol):
    """A loaded model that has spans below the level "model"."""

    def observe(self, level: str, batch: Arrays) -> AbstractContextManager[ServedWatched]:
        """Have the runtime's profiler on, down to ``level``, for as long as the context is open.

        ``batch`` is one like those that will be predicted.
        """
        ...


class ServedWatched(Protocol):
    """A model being observed."""

    def predict(self, batch: Arrays) -> Arrays: ...

    def take(self) -> Sequence[Sequence[ReportedSpan]]:
        """The spans of the predictions since the last call, a sequence for each prediction in their order.

        Called between predictions, and once more when the context has ended. Those of a prediction may come later than
        the prediction, but in order. A prediction that failed has no sequence.
        """
        ...
