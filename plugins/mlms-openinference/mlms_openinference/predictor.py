"""A model at a server: a batch goes there as a request, its outputs come back checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from mlms.errors import ModelError
from mlms.hooks import Batch, Outputs
from mlms.manifests.types import ModelAsset
from mlms.tracing.reported import Reported, Reports
from mlms_openinference.server import Server
from mlms_openinference.spans import Remote, current_traceparent, placed
from mlms_openinference.tensors import array_of

if TYPE_CHECKING:
    from mlms.tracing.recorder import Recorder

LEVEL_PARAMETER = "mlms_trace_level"
SPANS_PARAMETER = "mlms_spans"


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model as the server has it. ``outputs`` are those to ask for, none for all; ``told`` what it says of them."""

    name: str
    version: str
    datatypes: Mapping[str, str]
    outputs: tuple[str, ...]
    told: Mapping[str, tuple[str, Sequence[int]]]
    gives_spans: bool
    server_name: str
    server_version: str
    platform: str


class RemotePredictor:
    """Predicts at a server."""

    def __init__(self, model: ModelAsset, server: Server, remote: RemoteModel) -> None:
        from tritonclient.grpc import InferInput, InferRequestedOutput

        self._name, self._server, self._remote = model.name, server, remote
        self._new_input = InferInput
        self._wanted = [InferRequestedOutput(name) for name in remote.outputs] or None
        self._trace = current_traceparent()

    def predict(self, batch: Batch) -> Outputs:
        """Raises ModelError, or another of ``server.FAILURES``, that names the server and the mend."""
        return self._decode(self._ask(self._encode(batch)), batch)

    def describe(self) -> Mapping[str, Any]:
        """What the server says; parameters and device are its own."""
        return {"served_by": self._server.url, "platform": self._remote.platform, "device": "served"}

    def close(self) -> None:
        self._server.close()

    @contextmanager
    def observe(self, recorder: Recorder, level: str, batch: Batch) -> Iterator[Watched]:
        """Record what a prediction is on this side, and within its wait what the agent says of its own side."""
        self._trace = current_traceparent()
        asked = level if self._remote.gives_spans else None
        if asked is None and level != "framework":
            recorder.notes.append(f"no spans of the server: that at {self._server.url} gives none of its own")
        size = max(len(array) for array in batch.values())
        prediction = recorder.intern(f"predict {self._name}", "model", {"mlms.batch_size": size})
        if asked is not None:
            self._ask(self._encode(batch), asked)  # the agent makes ready to observe, which takes its time
        watched = Watched(lambda: Reports(recorder, prediction), lambda batch: self._watched(batch, asked))
        yield watched
        watched.finish()

    def _watched(self, batch: Batch, level: str | None) -> tuple[Outputs, list[int], str]:
        """The outputs, the times between the steps, and what the agent says of its side."""
        times = [perf_counter_ns()]
        inputs = self._encode(batch)
        times.append(perf_counter_ns())
        response = self._ask(inputs, level)
        times.append(perf_counter_ns())
        outputs = self._decode(response, batch)
        times.append(perf_counter_ns())
        return outputs, times, response.parameters[SPANS_PARAMETER].string_param if level is not None else ""

    def _encode(self, batch: Batch) -> list[Any]:
        inputs = []
        for name, datatype in self._remote.datatypes.items():
            array = batch[name]
            inputs.append(self._new_input(name, array.shape, datatype).set_data_from_numpy(array))
        return inputs

    def _ask(self, inputs: list[Any], level: str | None = None) -> Any:
        from tritonclient.utils import InferenceServerException

        server, remote = self._server, self._remote
        headers = server.headers if self._trace is None else {**server.headers, "traceparent": self._trace}
        try:
            result = server.client.infer(
                remote.name,
                inputs,
                model_version=remote.version,
                outputs=self._wanted,
                headers=headers,
                client_timeout=server.timeout,
                parameters=None if level is None else {LEVEL_PARAMETER: level},
            )
        except InferenceServerException as error:
            raise server.failure(error) from error
        return result.get_response()

    def _decode(self, response: Any, batch: Batch) -> Outputs:
        """The outputs by name, once they are what the server said they would be.

        Raises:
            ModelError: one is missing, or of another datatype or shape.
        """
        raw = response.raw_output_contents
        size = len(next(iter(batch.values())))
        outputs = {}
        for position, tensor in enumerate(response.outputs):
            self._check(tensor, size)
            try:
                outputs[tensor.name] = array_of(tensor, raw[position] if len(raw) else None)
            except (ValueError, IndexError) as error:
                raise self._wrong(f"output '{tensor.name}' is not what it says it is: {error}") from error
        expected = self._remote.outputs or tuple(self._remote.told)
        if missing := [name for name in expected if name not in outputs]:
            raise self._wrong(f"output '{missing[0]}' is missing from the answer")
        return {name: outputs[name] for name in expected} if self._remote.outputs else outputs

    def _check(self, tensor: Any, size: int) -> None:
        datatype, shape = self._remote.told.get(tensor.name, (tensor.datatype, (-1,) * len(tensor.shape)))
        expected = (size, *shape[1:])
        fits = len(tensor.shape) == len(expected) and all(
            length in (-1, given) for length, given in zip(expected, tensor.shape, strict=True)
        )
        if tensor.datatype != datatype or not fits:
            raise self._wrong(
                f"output '{tensor.name}' is {tensor.datatype} {list(tensor.shape)}, "
                f"and {datatype} {list(expected)} is expected"
            )

    def _wrong(self, what: str) -> ModelError:
        return ModelError(
            f"{self._server.about} gave a wrong answer for model '{self._remote.name}': {what}",
            hint="the server doesn't do what its metadata says: mend its model's configuration",
        )


class Watched:
    """A remote model being observed, by several threads at once where it is asked so."""

    def __init__(
        self, reports: Callable[[], Reports], predict: Callable[[Batch], tuple[Outputs, list[int], str]]
    ) -> None:
        self._make, self._predict = reports, predict
        self._here = threading.local()
        self._all: list[Reports] = []

    def predict(self, batch: Batch) -> Outputs:
        outputs, times, told = self._predict(batch)
        self._here.__dict__.setdefault("waiting", []).append((times, told))
        return outputs

    def checkpoint(self) -> None:
        """Put this thread's predictions away."""
        waiting: list[tuple[list[int], str]] = self._here.__dict__.get("waiting", [])
        if waiting and not hasattr(self._here, "reports"):
            self._here.reports = self._make()
            self._all.append(self._here.reports)
        for (start, sending, answered, end), told in waiting:
            remote = Remote.read(told)
            self._here.reports.add(
                start,
                end,
                [
                    Reported("encode_request", "framework", start, sending),
                    Reported("wait", "framework", sending, answered),
                    *(placed(remote, sending, answered) if remote is not None else ()),
                    Reported("decode_response", "framework", answered, end),
                ],
            )
        waiting.clear()

    def finish(self) -> None:
        self.checkpoint()
        for reports in self._all:
            reports.flush()
