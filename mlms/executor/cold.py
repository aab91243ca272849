"""How long it takes from nothing to a first answer; run in a fresh process."""

from __future__ import annotations

from time import perf_counter

from mlms.executor.binding import bind, make
from mlms.executor.conditions import ColdStart
from mlms.executor.loading import load_model
from mlms.executor.measuring import batch_of, load_samples
from mlms.executor.provision import provision_weights
from mlms.executor.references import check_references
from mlms.executor.session import Session
from mlms.hooks.types import Context
from mlms.manifests.types import Evaluation
from mlms.progress import Silent


def cold_start(evaluation: Evaluation, session: Session) -> ColdStart:
    """Import the framework, load the model and predict one batch, each timed; fetching and preprocessing are not.

    The process is fresh, the system's cache of files is not: weights that were read before come from memory.

    Raises:
        MlmsError: whatever went wrong, named.
    """
    check_references(evaluation, session.components)
    context = Context(labels=session.labels, model=evaluation.model, dataset=evaluation.dataset, seed=evaluation.seed)
    with session.progress.task(f"cold start of {evaluation.name}"):
        start = perf_counter()
        make(session.components.frameworks.get(evaluation.framework.component), evaluation.options, context)
        imported_s = perf_counter() - start
        bound = bind(evaluation, session.components, session.labels, session.progress)
        weights = provision_weights(evaluation.model, session.fetch, session.progress)
        start = perf_counter()
        with load_model(evaluation, bound, weights, Silent()) as model:
            loaded_s = perf_counter() - start
            size = min(evaluation.batch_size, len(bound.dataset))
            samples = load_samples(evaluation, bound, size, Silent())
            batch = batch_of(samples, tuple(position % size for position in range(evaluation.batch_size)))
            start = perf_counter()
            model.predict(batch)
            predicted_s = perf_counter() - start
    return ColdStart(imported_s, loaded_s, predicted_s)
