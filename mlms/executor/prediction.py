"""What a model says about single files, without a measurement."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlms.errors import DataError, InputError
from mlms.executor.binding import bind, make_stages
from mlms.executor.loading import load_model
from mlms.executor.provision import provision_weights
from mlms.executor.scoring import split
from mlms.hooks.components import Components
from mlms.hooks.types import Context, Sample
from mlms.manifests.fetch import FetchSettings
from mlms.manifests.types import Evaluation
from mlms.pipeline.preparation import prepare, stack
from mlms.pipeline.stages import apply
from mlms.progress import Progress
from mlms.storage import reading


@dataclass(frozen=True, slots=True)
class FilePrediction:
    """``described`` is the prediction as the task describes it, such as class, label and scores."""

    file: Path
    described: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Files:
    """Files as a dataset: an array for ``.npy``, else the path for the first preprocess step to read."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        path = self.paths[index]
        with reading(path):
            found = path.is_file()
        if not found:
            raise DataError(f"there is no file {path}")
        if path.suffix != ".npy":
            return Sample(str(path), path)
        try:
            array = np.load(path, allow_pickle=False)
        except Exception as error:  # NumPy's parser trips over a damaged header in many ways
            raise DataError(f"{path} is not a readable .npy file: {error}") from error
        if not isinstance(array, np.ndarray):
            raise DataError(
                f"{path} is not a .npy file, but an archive of several arrays", hint="save one by numpy.save"
            )
        return Sample(str(path), array)


def predict_files(
    evaluation: Evaluation,
    paths: Sequence[Path],
    components: Components,
    labels: Callable[[str], tuple[str, ...]],
    fetch: FetchSettings,
    progress: Progress,
) -> Iterator[FilePrediction]:
    """Load the model once and predict file after file.

    Raises:
        DataError: a file can't be read.
        ModelError: the model failed.
    """
    bound = bind(evaluation, components, labels, progress)
    context = Context(labels=labels, model=evaluation.model, seed=evaluation.seed)
    preprocess = make_stages("preprocess", evaluation.model.preprocess, components, context)
    files = _Files(paths)
    weights = provision_weights(evaluation.model, fetch, progress)
    with load_model(evaluation, bound, weights, progress) as model:
        for index, path in enumerate(paths):
            try:
                sample = prepare(files, index, preprocess, evaluation.model.input)
            except InputError as error:
                if path.suffix == ".npy" or not os.path.isfile(path):  # noqa: PTH113 (which raises nothing)
                    raise
                first = f"its first step is {evaluation.model.preprocess[0].name}" if preprocess else "it has no steps"
                raise InputError(
                    f"{path} can't be preprocessed for '{evaluation.model.name}': {error.message}",
                    hint=f"give a .npy file if the model's preprocessing takes arrays ({first})",
                ) from error
            output = split(model.predict(stack([sample])), 0)
            value = next(iter(output.values())) if len(output) == 1 else output
            yield FilePrediction(path, bound.task.describe(apply(bound.postprocess, value, sample.id)))
