"""What a model answers to every sample of its dataset, without a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.errors import MlmsError
from mlms.executor.binding import bind
from mlms.executor.loading import load_model
from mlms.executor.provision import provision_weights
from mlms.executor.scoring import check_length
from mlms.executor.session import Session
from mlms.hooks.types import Outputs
from mlms.manifests.types import Evaluation
from mlms.pipeline.preparation import prepare_ahead, stack


@dataclass(frozen=True, slots=True)
class Answered:
    """``outputs`` by name, of shape (samples, ...), raw: before any postprocessing. ``samples`` are their ids.

    ``error`` is why there are none.
    """

    evaluation: Evaluation
    samples: tuple[str, ...] = ()
    outputs: dict[str, npt.NDArray[Any]] | None = None
    error: Exception | None = None


def answer(evaluation: Evaluation, session: Session) -> Answered:
    """Predict the dataset, up to the evaluation's limit, in its batch size.

    What goes wrong is in ``error``, but for a bug in mlms, which is raised.
    """
    try:
        return _answer(evaluation, session)
    except MlmsError as error:
        return Answered(evaluation, error=error)


def _answer(evaluation: Evaluation, session: Session) -> Answered:
    progress = session.progress
    bound = bind(evaluation, session.components, session.labels, progress)
    weights = provision_weights(evaluation.model, session.fetch, progress)
    total = min(len(bound.dataset), evaluation.limit or len(bound.dataset))
    samples: list[str] = []
    parts: list[Outputs] = []
    with (
        load_model(evaluation, bound, weights, progress) as model,
        progress.task(f"predicting with {evaluation.name}", total=total, unit="samples") as advance,
    ):
        ready = prepare_ahead(
            bound.dataset,
            range(total),
            bound.preprocess,
            evaluation.model.input,
            workers=evaluation.workers,
            window=max(evaluation.batch_size, 2 * evaluation.workers),
        )
        waiting = []
        for sample in ready:
            waiting.append(sample)
            if len(waiting) == evaluation.batch_size or len(samples) + len(waiting) == total:
                outputs = model.predict(stack(waiting))
                check_length(outputs, len(waiting), evaluation)
                parts.append({name: np.array(values) for name, values in outputs.items()})
                samples += [each.id for each in waiting]
                advance(len(waiting))
                waiting = []
    names = parts[0] if parts else ()
    return Answered(
        evaluation, tuple(samples), {name: np.concatenate([part[name] for part in parts]) for name in names}
    )
