"""One ModelInfer: the request's tensors into a batch, a prediction, its outputs into the response."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from mlms.agents import protocol
from mlms.agents.hosting import AgentSpan, Closed, Host, Hosted, Refusal
from mlms.agents.tensors import NAMES, from_contents, from_raw, to_raw
from mlms.errors import MlmsError
from mlms.tracing.attributes import dumps
from mlms.tracing.levels import LEVELS, depth

if TYPE_CHECKING:
    from mlms.hooks.types import Batch, Outputs
    from mlms.manifests.types import TensorSpec

LEVEL_PARAMETER = "mlms_trace_level"
"""With this parameter a request asks for the agent's spans, down to the trace level that it names."""
SPANS_PARAMETER = "mlms_spans"
"""The parameter of the response that they are in, as JSON.

``duration_ns``: from the request's arrival to its answer; ``spans``: a list of name, level, start and end (ns since its
arrival) and attributes. ``trace_id`` and ``parent_id`` are those of the request's ``traceparent``, where it has one.
"""
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


def infer(host: Host, arrived: int, data: bytes, metadata: Mapping[str, str]) -> bytes:
    """Answer a request that arrived at ``arrived`` (ns of ``perf_counter_ns``).

    Raises:
        Refusal: it can't be answered; it says why.
    """
    start = perf_counter_ns()
    try:
        request, raw = protocol.parse_infer(data)
    except ValueError as error:
        raise Refusal("INVALID_ARGUMENT", str(error)) from None
    level = _level(request.parameters)
    while True:
        hosted = host.hosted(request.model_name, request.model_version)
        batch = _batch(hosted, request, raw)
        spans: list[AgentSpan] = [("decode", "framework", start, perf_counter_ns(), {})]
        try:
            outputs, predicted = hosted.predict(batch, level)
            break
        except Closed:
            continue  # another took its place, or none is there any more
        except MlmsError as error:
            raise host.told(hosted, error) from error
    start = perf_counter_ns()
    response, contents = _response(hosted, request, outputs)
    if depth(level) >= depth("framework"):
        spans += [*predicted, ("encode", "framework", start, perf_counter_ns(), {})]
        told = _spans(spans, arrived, metadata.get("traceparent", ""))
        value = protocol.new("InferParameter", string_param=told)
        response.parameters.append(protocol.new("Parameter", key=SPANS_PARAMETER, value=value))
    return protocol.join_infer(response, contents)


def _level(parameters: Sequence[Any]) -> str:
    level = next((each.value.string_param for each in parameters if each.key == LEVEL_PARAMETER), "none")
    if level not in LEVELS:
        raise Refusal("INVALID_ARGUMENT", f"{LEVEL_PARAMETER} is one of {', '.join(LEVELS)}, not '{level}'")
    return level


def _batch(hosted: Hosted, request: Any, raw: Sequence[memoryview]) -> Batch:
    """The model's inputs, checked against what it takes."""
    if raw and len(raw) != len(request.inputs):
        raise Refusal(
            "INVALID_ARGUMENT",
            f"{len(request.inputs)} inputs are named, but raw_input_contents has {len(raw)}: one for each is needed",
        )
    batch = {}
    specs = {spec.name: spec for spec in hosted.inputs}
    for position, tensor in enumerate(request.inputs):
        spec = specs.get(tensor.name)
        if spec is None or tensor.name in batch:
            wrong = "is given twice" if spec is not None else "is none of its inputs"
            raise Refusal("INVALID_ARGUMENT", f"'{tensor.name}' {wrong}: {_wanted(hosted)}")
        _check(hosted, spec, tensor)
        try:
            if raw:
                batch[spec.name] = from_raw(tensor.datatype, tensor.shape, raw[position])
            else:
                batch[spec.name] = from_contents(tensor.datatype, tensor.shape, tensor.contents)
        except ValueError as error:
            raise Refusal("INVALID_ARGUMENT", f"input '{spec.name}' of model '{hosted.name}': {error}") from None
    if missing := [name for name in specs if name not in batch]:
        raise Refusal("INVALID_ARGUMENT", f"input '{missing[0]}' is missing: {_wanted(hosted)}")
    if len(sizes := {name: len(array) for name, array in batch.items()}) > 1 and len(set(sizes.values())) > 1:
        raise Refusal("INVALID_ARGUMENT", f"the inputs are batches of different sizes: {sizes}")
    return {name: batch[name] for name in specs}


def _check(hosted: Hosted, spec: TensorSpec, tensor: Any) -> None:
    datatype, given = NAMES[spec.dtype], list(tensor.shape)
    fits = len(given) == 1 + len(spec.shape) and all(
        wanted in (None, length) for wanted, length in zip(spec.shape, given[1:], strict=True)
    )
    if not fits or tensor.datatype not in ([datatype, "BF16"] if datatype == "FP32" else [datatype]):
        raise Refusal(
            "INVALID_ARGUMENT",
            f"input '{spec.name}' of model '{hosted.name}' is {_described(spec)}, not {tensor.datatype} {given}",
        )


def _described(spec: TensorSpec) -> str:
    return f"{NAMES[spec.dtype]} [{', '.join(['batch', *(str(length or 'any') for length in spec.shape)])}]"


def _wanted(hosted: Hosted) -> str:
    return f"model '{hosted.name}' takes " + ", ".join(f"'{spec.name}' {_described(spec)}" for spec in hosted.inputs)


def _response(hosted: Hosted, request: Any, outputs: Outputs) -> tuple[Any, list[bytes | memoryview]]:
    """The response without its tensors, and these; all outputs, or those that the request names, in its order."""
    wanted = [output.name for output in request.outputs] or list(outputs)
    response = protocol.new("ModelInferResponse", model_name=hosted.name, model_version=hosted.version, id=request.id)
    contents = []
    for name in wanted:
        if name not in outputs:
            raise Refusal(
                "INVALID_ARGUMENT", f"model '{hosted.name}' has no output '{name}'; it has {', '.join(outputs)}"
            )
        try:
            datatype, shape, content = to_raw(outputs[name])
        except ValueError as error:
            raise Refusal("INTERNAL", f"output '{name}' of model '{hosted.name}' can't be sent: {error}") from None
        response.outputs.append(protocol.new("InferOutputTensor", name=name, datatype=datatype, shape=shape))
        contents.append(content)
    return response, contents


def _spans(spans: Sequence[AgentSpan], arrived: int, traceparent: str) -> str:
    parent = TRACEPARENT.fullmatch(traceparent)
    told = [
        [name, level, start - arrived, end - arrived, json.loads(dumps(attributes))]
        for name, level, start, end, attributes in spans
    ]
    caller = {"trace_id": parent[1], "parent_id": parent[2]} if parent else {}
    return json.dumps({"duration_ns": perf_counter_ns() - arrived, "spans": told, **caller}, separators=(",", ":"))
