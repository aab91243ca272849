"""Samples made ready for the predictor, ahead of time and bounded in number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import InputError
from mlms.hooks.blame import blaming
from mlms.hooks.types import Batch, Dataset
from mlms.manifests.types import TensorSpec
from mlms.pipeline.stages import Stage, apply


@dataclass(frozen=True, slots=True)
class Prepared:
    """One sample as the model takes it: ``values`` by input name, without batch dimension."""

    index: int
    id: str
    target: Any
    values: dict[str, npt.NDArray[Any]]

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.values.values())


def prepare(dataset: Dataset, index: int, stages: Sequence[Stage], inputs: Sequence[TensorSpec]) -> Prepared:
    """Read one sample and preprocess it.

    Raises:
        DataError: the sample can't be read.
        PluginError: the reader raised something that isn't an mlms error.
        InputError: what the preprocessing gives isn't what the model takes.
    """
    with blaming(f"the dataset reader {type(dataset).__name__} failed on sample {index}"):
        sample = dataset[index]
    value = apply(stages, sample.value, sample.id)
    values = value if isinstance(value, dict) else {inputs[0].name: value}
    return Prepared(index, sample.id, sample.target, {spec.name: _fit(values, spec, sample.id) for spec in inputs})


def prepare_ahead(
    dataset: Dataset,
    indices: Iterable[int],
    stages: Sequence[Stage],
    inputs: Sequence[TensorSpec],
    *,
    workers: int,
    window: int,
) -> Iterator[Prepared]:
    """Prepare in ``workers`` threads, in order, never more than ``window`` samples ahead of the consumer."""
    remaining = iter(indices)
    with ThreadPoolExecutor(workers, thread_name_prefix="mlms-preprocess") as pool:
        waiting: deque[Future[Prepared]] = deque()
        try:
            for index in islice(remaining, window):
                waiting.append(pool.submit(prepare, dataset, index, stages, inputs))
            while waiting:
                yield waiting.popleft().result()
                for index in islice(remaining, 1):
                    waiting.append(pool.submit(prepare, dataset, index, stages, inputs))
        finally:
            for future in waiting:
                future.cancel()


def stack(samples: Sequence[Prepared]) -> Batch:
    """A batch of shape (len(samples), ...) for each input."""
    return {name: np.stack([sample.values[name] for sample in samples]) for name in samples[0].values}


def _fit(values: dict[str, Any], spec: TensorSpec, sample: str) -> npt.NDArray[Any]:
    if spec.name not in values:
        raise InputError(
            f"preprocessing of sample '{sample}' gives {', '.join(map(repr, values))}, not the input '{spec.name}'",
            hint="name the model's inputs as the last preprocess step names them",
        )
    value = np.asarray(values[spec.name])
    fits = len(value.shape) == len(spec.shape) and all(
        want is None or have == want for have, want in zip(value.shape, spec.shape, strict=True)
    )
    if value.dtype.name != spec.dtype or not fits:
        wanted = "×".join("?" if size is None else str(size) for size in spec.shape)
        raise InputError(
            f"preprocessing of sample '{sample}' gives {value.dtype.name} {'×'.join(map(str, value.shape))} "
            f"where the model's input '{spec.name}' is {spec.dtype} {wanted}",
            hint="mend the model's preprocess steps, or its input",
        )
    return value
