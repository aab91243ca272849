"""Predictions and scores over the whole dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlms.errors import ModelError
from mlms.executor.binding import Bound
from mlms.hooks.blame import blaming
from mlms.hooks.types import Dataset, Metric, NamesClasses, Outputs
from mlms.manifests.types import DatasetAsset, Evaluation
from mlms.metrics.published import beside_published
from mlms.pipeline.preparation import Prepared, prepare_ahead, stack
from mlms.pipeline.stages import apply
from mlms.progress import Progress
from mlms.scenarios.sut import Positions, Predict

CHUNK = 512
"""Predictions handed to a metric at a time: many metrics cost more a call than a prediction."""


@dataclass(frozen=True, slots=True)
class Scores:
    """``metrics`` as the record holds them, and the rows of ``predictions.parquet``."""

    metrics: tuple[Mapping[str, Any], ...]
    predictions: tuple[Mapping[str, Any], ...]
    reason: str | None
    """Why no accuracy is reported; None when it is."""
    doubt: str | None = None
    """What the task warns of; None where model and dataset fit."""


def why_no_accuracy(evaluation: Evaluation) -> str | None:
    """The reason that lies in the evaluation itself, before any sample is seen."""
    if evaluation.model.source.weights.random:
        return "random weights: performance only"
    if evaluation.dataset.reader.name == "synthetic":
        return "synthetic data: performance only"
    return None


def score(
    evaluation: Evaluation,
    bound: Bound,
    loaded: Sequence[Prepared],
    measured: Iterable[tuple[Positions, Outputs]],
    predict: Predict,
    total: int,
    progress: Progress,
) -> Scores:
    """Score every sample of the dataset: those that the scenario answered, then the rest, predicted now.

    ``loaded`` are the samples that the scenario drew from, ``total`` the number to score.
    """
    reason = why_no_accuracy(evaluation)
    if reason is not None:
        return Scores((), (), reason)
    rows: list[Mapping[str, Any]] = []
    predictions: list[Any] = []
    targets: list[Any] = []
    labelled = 0
    doubt: str | None = None
    with progress.task("scoring", total=total, unit="samples") as advance:
        for sample, output in _answers(evaluation, bound, loaded, measured, predict, total):
            if not rows:
                outputs = {name: [value] for name, value in output.items()}
                doubt = bound.task.check(outputs, _with_found_labels(evaluation.dataset, bound.dataset))
            value = next(iter(output.values())) if len(output) == 1 else output
            prediction = apply(bound.postprocess, value, sample.id)
            described = bound.task.describe(prediction)
            rows.append({"index": sample.index, "sample": sample.id, "target": sample.target, **described})
            if sample.target is not None:
                labelled += 1
                predictions.append(prediction)
                targets.append(sample.target)
            if len(predictions) >= CHUNK:
                _update(bound, predictions, targets)
                predictions, targets = [], []
            advance(1)
        if predictions:
            _update(bound, predictions, targets)
    rows.sort(key=lambda row: row["index"])
    if not labelled:
        return Scores((), tuple(rows), f"dataset '{evaluation.dataset.name}' has no labels", doubt)
    published = evaluation.model.published if evaluation.limit is None else ()
    metrics = tuple(
        beside_published(name, _compute(name, metric), metric.unit, labelled, evaluation.dataset.name, published)
        for name, metric in bound.metrics.items()
    )
    return Scores(metrics, tuple(rows), None, doubt)


def _with_found_labels(asset: DatasetAsset, dataset: Dataset) -> DatasetAsset:
    found = dataset.classes if isinstance(dataset, NamesClasses) else None
    return asset if asset.labels is not None or found is None else replace(asset, labels=found)


def split(outputs: Outputs, position: int) -> dict[str, Any]:
    """One sample's outputs out of a batch's."""
    return {name: values[position] for name, values in outputs.items()}


def _answers(
    evaluation: Evaluation,
    bound: Bound,
    loaded: Sequence[Prepared],
    measured: Iterable[tuple[Positions, Outputs]],
    predict: Predict,
    total: int,
) -> Iterator[tuple[Prepared, Mapping[str, Any]]]:
    answered: set[int] = set()
    for positions, outputs in measured:
        check_length(outputs, len(positions), evaluation)
        for place, position in enumerate(positions):
            if position not in answered:
                answered.add(position)
                yield loaded[position], split(outputs, place)
    ready = (sample for position, sample in enumerate(loaded) if position not in answered)
    yield from _predict_all(ready, evaluation, predict)
    rest = prepare_ahead(
        bound.dataset,
        range(len(loaded), total),
        bound.preprocess,
        evaluation.model.input,
        workers=evaluation.workers,
        window=max(evaluation.batch_size, 2 * evaluation.workers),
    )
    yield from _predict_all(rest, evaluation, predict)


def _predict_all(
    samples: Iterable[Prepared], evaluation: Evaluation, predict: Predict
) -> Iterator[tuple[Prepared, Mapping[str, Any]]]:
    waiting: list[Prepared] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == evaluation.batch_size:
            yield from _predict_batch(waiting, evaluation, predict)
            waiting = []
    if waiting:
        yield from _predict_batch(waiting, evaluation, predict)


def _predict_batch(
    samples: Sequence[Prepared], evaluation: Evaluation, predict: Predict
) -> Iterator[tuple[Prepared, Mapping[str, Any]]]:
    outputs = predict(stack(samples))
    check_length(outputs, len(samples), evaluation)
    for place, sample in enumerate(samples):
        yield sample, split(outputs, place)


def check_length(outputs: Outputs, samples: int, evaluation: Evaluation) -> None:
    for name, values in outputs.items():
        if len(values) != samples:
            raise ModelError(
                f"model '{evaluation.model.name}' answered a batch of {samples} with {len(values)} in output '{name}'",
                hint="the first axis of every output must be the batch",
            )


def _update(bound: Bound, predictions: Sequence[Any], targets: Sequence[Any]) -> None:
    for name, metric in bound.metrics.items():
        with blaming(f"metric '{name}' failed"):
            metric.update(predictions, targets)


def _compute(name: str, metric: Metric) -> float:
    with blaming(f"metric '{name}' failed"):
        return metric.compute()
