"""What a PyTorch predictor shows below a prediction: phases, layers, operators; imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from mlms.builtins.pytorch.failures import failure
from mlms.builtins.pytorch.layers import Layer, describe_calls, layers_of, wrapped
from mlms.builtins.pytorch.onednn import verbose
from mlms.builtins.pytorch.operators import OperatorTrace
from mlms.hooks import Batch, Outputs
from mlms.tracing.levels import depth
from mlms.tracing.recorder import Recorder

if TYPE_CHECKING:
    from mlms.builtins.pytorch.predictor import PyTorchPredictor

Predict = Callable[[Batch], Outputs]

PHASES = ("input_transfer", "forward", "synchronize", "output_transfer")
"""The methods of the predictor that are spans at the level "framework"."""


class Observed:
    """A predictor being watched: call ``predict``, and ``checkpoint`` between predictions, outside of any timing."""

    def __init__(self, predict: Predict, checkpoint: Callable[[], None]) -> None:
        self.predict = predict
        self.checkpoint = checkpoint


@contextmanager
def observed(predictor: PyTorchPredictor, recorder: Recorder, level: str, batch: Batch) -> Iterator[Observed]:
    """Record the spans of each prediction down to ``level`` for as long as the context is open.

    ``batch`` is one to describe the layers with: it is predicted once, before anything is recorded.

    Under ``torch.compile`` the modules vanish into generated code, so there are no layers; operators are then the
    compiled regions and whatever they still dispatch. Library calls are oneDNN's primitives on the CPU; those of a GPU
    come from the profiler ``cupti``.
    """
    predict = recorder.intern(f"predict {predictor.name}", "model", {"mlms.batch_size": _size(batch)})
    layers = layers_of(predictor.module) if depth(level) >= depth("layer") and not predictor.compiled else ()
    identifiers = _names(recorder, layers, predictor, batch)
    with ExitStack() as stack:
        trace = _operators(stack, predictor, recorder, predict, level)
        record = recorder.wrap if trace is None else trace.marked
        if depth(level) >= depth("framework"):
            for phase in PHASES:
                _shadow(stack, predictor, phase, record(getattr(predictor, phase), recorder.intern(phase, "framework")))
        stack.enter_context(wrapped(layers, lambda forward, layer: record(forward, identifiers[layer.name])))
        if trace is None:
            yield Observed(recorder.wrap(predictor.predict, predict), _nothing)
        else:
            trace.start()
            yield Observed(trace.wrap(predictor.predict), trace.checkpoint)


def _operators(
    stack: ExitStack, predictor: PyTorchPredictor, recorder: Recorder, predict: int, level: str
) -> OperatorTrace | None:
    """What records operators and what is below them, finished with the stack; None at levels above them."""
    if depth(level) < depth("operator"):
        return None
    told = None
    if depth(level) >= depth("library") and predictor.device.type == "cpu":
        if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            told = stack.enter_context(verbose())
        else:
            recorder.notes.append("no library calls were recorded: this PyTorch is built without oneDNN")
    trace = OperatorTrace(recorder, predict, told)
    stack.callback(trace.finish)
    return trace


def _names(recorder: Recorder, layers: Sequence[Layer], predictor: PyTorchPredictor, batch: Batch) -> dict[str, int]:
    """Each layer's identifier in the recorder, by its name."""
    if not layers:
        return {}
    try:
        calls = describe_calls(predictor.module, layers, [each.clone() for each in predictor.input_transfer(batch)])
    except Exception as error:
        raise failure(error, predictor.name, "predicting, to describe its layers,") from error
    described = {"mlms.layer.batch_size": _size(batch)}
    identifiers = {
        layer.name: recorder.intern(layer.name, "layer", {**layer.attributes, **described}) for layer in layers
    }
    for name, identifier in identifiers.items():
        recorder.names[identifier].calls = calls[name]
    return identifiers


def _size(batch: Batch) -> int:
    return max(len(array) for array in batch.values())


def _shadow(stack: ExitStack, owner: object, name: str, replacement: Callable[..., Any]) -> None:
    """Put an instance attribute before a method until the stack is closed."""
    owner.__dict__[name] = replacement
    stack.callback(owner.__dict__.pop, name)


def _nothing() -> None:
    pass
