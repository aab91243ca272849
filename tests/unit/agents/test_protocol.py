"""The messages are those of the official client, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from mlms.agents import protocol

OURS = {"Empty", "Property", "Parameter", "HealthCheckRequest", "HealthCheckResponse"}
"""Messages with other names, or none, in the client's description."""
NESTED = {
    "TensorMetadata": "ModelMetadataResponse",
    "InferInputTensor": "ModelInferRequest",
    "InferRequestedOutputTensor": "ModelInferRequest",
    "InferOutputTensor": "ModelInferResponse",
    "ModelIndex": "RepositoryIndexResponse",
}


def official(name: str) -> Any:
    messages = service_pb2.DESCRIPTOR.message_types_by_name
    return messages[NESTED[name]].nested_types_by_name[name] if name in NESTED else messages[name]


@pytest.mark.parametrize("name", sorted(set(protocol.CLASSES) - OURS))
def test_fields_are_those_of_the_official_client(name: str) -> None:
    theirs = {field.name: field for field in official(name).fields}
    for field in protocol.CLASSES[name].DESCRIPTOR.fields:
        if field.name == "properties":  # KServe's, which Triton's description lacks
            assert field.number == 6
            continue
        assert field.number == theirs[field.name].number
        # What isn't read of a load's parameters is taken as bytes, which is the same on the wire as a message.
        same = field.type == theirs[field.name].type or field.name == "parameters"
        assert same, field.name


def test_methods_are_those_of_the_official_client() -> None:
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert set(protocol.METHODS) <= {method.name for method in service.methods}
    assert service.full_name == protocol.SERVICE


def test_raw_tensors_are_views_into_the_request() -> None:
    request = service_pb2.ModelInferRequest(model_name="m", id="7")
    request.parameters["level"].string_param = "layer"
    request.raw_input_contents.extend([b"first", b"", b"third"])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    data = request.SerializeToString()
    parsed, raw = protocol.parse_infer(data)
    assert (parsed.model_name, parsed.id, parsed.inputs[0].name) == ("m", "7", "x")
    assert [(each.key, each.value.string_param) for each in parsed.parameters] == [("level", "layer")]
    assert [bytes(each) for each in raw] == [b"first", b"", b"third"]
    assert all(each.obj is data for each in raw)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 70_000])
def test_response_is_read_by_the_official_client(size: int) -> None:
    response = protocol.new("ModelInferResponse", model_name="m")
    content = np.arange(size, dtype=np.uint8).data
    read = service_pb2.ModelInferResponse.FromString(protocol.join_infer(response, [content, b"x"]))
    assert read.model_name == "m"
    assert list(read.raw_output_contents) == [bytes(content), b"x"]


def test_bytes_that_are_no_request_are_refused() -> None:
    good = service_pb2.ModelInferRequest(model_name="model", raw_input_contents=[b"12345678"]).SerializeToString()
    for bad in (good[:-1], b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x07", b"\xff" * 12):
        with pytest.raises(ValueError, match="request is"):
            protocol.parse_infer(bad)
    with pytest.raises(ValueError, match="no ModelReadyRequest"):
        protocol.parse("ModelReady", b"\x0a\xff")
