"""A predictor whose failures name the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from mlms.errors import MlmsError, ModelError
from mlms.executor.binding import BoundFramework
from mlms.executor.provision import WeightsFile
from mlms.hooks.blame import blaming
from mlms.hooks.types import Batch, Checkpoints, Observable, Outputs, Predictor, Watched
from mlms.manifests.types import Evaluation
from mlms.progress import Progress

if TYPE_CHECKING:
    from mlms.tracing.recorder import Recorder


class LoadedModel:
    """A predictor and the model's name; closes the predictor when its context ends."""

    def __init__(self, name: str, predictor: Predictor) -> None:
        self.name = name
        self.predictor = predictor
        self._predict = predictor.predict
        self.checkpoint: Callable[[], None] | None = None
        """To be called after each prediction, outside of any timing; None where there is nothing to put away."""

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(self, *failure: object) -> None:
        with blaming(f"model '{self.name}' failed to close", ModelError):
            self.predictor.close()

    @contextmanager
    def observed(self, recorder: Recorder, level: str, batch: Batch) -> Iterator[None]:
        """Have what is below each prediction recorded; ``batch`` is one to describe the layers with."""
        if not isinstance(self.predictor, Observable):
            raise ModelError(f"'{self.name}' can't be observed, though its framework has the trace level {level}")
        with ExitStack() as stack:
            with blaming(f"model '{self.name}' failed to be observed", ModelError):
                watched = stack.enter_context(self.predictor.observe(recorder, level, batch))
            self._predict = watched.predict
            self.checkpoint = _checkpoint(watched, recorder)
            try:
                yield
            finally:
                self._predict = self.predictor.predict
                self.checkpoint = None

    def describe(self) -> Mapping[str, Any]:
        """What the predictor says of itself."""
        with blaming(f"model '{self.name}' failed to describe itself", ModelError):
            return dict(self.predictor.describe())

    def predict(self, batch: Batch) -> Outputs:
        """Raises ModelError for whatever the model raises that isn't an mlms error already."""
        # Not blaming(): this is inside the measured region, where a context manager costs a microsecond.
        try:
            return self._predict(batch)
        except MlmsError:
            raise
        except Exception as error:
            raise ModelError(f"model '{self.name}' failed to predict: {type(error).__name__}: {error}") from error


def _checkpoint(watched: Watched, recorder: Recorder) -> Callable[[], None]:
    """Let the framework put away what it holds, then let the recorder go to disk with what is too much for memory."""
    if not isinstance(watched, Checkpoints):
        return recorder.spill
    theirs = watched.checkpoint

    def checkpoint() -> None:
        theirs()
        recorder.spill()

    return checkpoint


def load_model(evaluation: Evaluation, bound: BoundFramework, weights: WeightsFile, progress: Progress) -> LoadedModel:
    """Load the model.

    Raises:
        ModelError: the framework raised something that isn't an mlms error already; it names both.
    """
    options: Mapping[str, Any] = {
        **evaluation.options,
        "packages": list(evaluation.framework.packages),
        "dtype": evaluation.dtype,
        "threads": evaluation.threads,
        "files": dict(weights.files),
    }
    name = evaluation.model.name
    framework = f"framework '{evaluation.framework.name}' (from {bound.framework_plugin})"
    with progress.task(f"loading {name}"), blaming(f"{framework} failed to load '{name}'", ModelError):
        predictor = bound.framework.load(evaluation.model, weights.path, evaluation.device, options)
    return LoadedModel(name, predictor)
