"""The messages and methods of the Open Inference Protocol v2 (gRPC), and of gRPC's own health check.

Field numbers are those of the public ``open_inference_grpc.proto``; a test holds them to the official client's. The
descriptors live in a pool of their own: a client library in the same process registers the same names.

Tensors don't go through protobuf, which copies a bytes field twice: they are cut out of the request, and put behind
the response, as the wire format has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"

_PACKAGE = "inference"
_RAW_INPUT_CONTENTS = 7
_RAW_OUTPUT_CONTENTS = 6
_LENGTH_DELIMITED = 2

_MESSAGES = {
    "ServerLiveResponse": "bool live 1",
    "ServerReadyResponse": "bool ready 1",
    "ModelReadyRequest": "string name 1, string version 2",
    "ModelReadyResponse": "bool ready 1",
    "ServerMetadataResponse": "string name 1, string version 2, string* extensions 3",
    "ModelMetadataRequest": "string name 1, string version 2",
    "TensorMetadata": "string name 1, string datatype 2, int64* shape 3",
    "Property": "string key 1, string value 2",
    "ModelMetadataResponse": "string name 1, string* versions 2, string platform 3, TensorMetadata* inputs 4, "
    "TensorMetadata* outputs 5, Property* properties 6",
    "InferParameter": "bool bool_param 1, int64 int64_param 2, string string_param 3, double double_param 4, "
    "uint64 uint64_param 5",
    # A map is a list of such entries on the wire.
    "Parameter": "string key 1, InferParameter value 2",
    "InferTensorContents": "bool* bool_contents 1, int32* int_contents 2, int64* int64_contents 3, "
    "uint32* uint_contents 4, uint64* uint64_contents 5, float* fp32_contents 6, double* fp64_contents 7, "
    "bytes* bytes_contents 8",
    "InferInputTensor": "string name 1, string datatype 2, int64* shape 3, Parameter* parameters 4, "
    "InferTensorContents contents 5",
    "InferRequestedOutputTensor": "string name 1, Parameter* parameters 2",
    "ModelInferRequest": "string model_name 1, string model_version 2, string id 3, Parameter* parameters 4, "
    "InferInputTensor* inputs 5, InferRequestedOutputTensor* outputs 6, bytes* raw_input_contents 7",
    "InferOutputTensor": "string name 1, string datatype 2, int64* shape 3, Parameter* parameters 4, "
    "InferTensorContents contents 5",
    "ModelInferResponse": "string model_name 1, string model_version 2, string id 3, Parameter* parameters 4, "
    "InferOutputTensor* outputs 5, bytes* raw_output_contents 6",
    "RepositoryIndexRequest": "string repository_name 1, bool ready 2",
    "ModelIndex": "string name 1, string version 2, string state 3, string reason 4",
    "RepositoryIndexResponse": "ModelIndex* models 1",
    # What a load's or an unload's parameters may hold is not read, only whether there are any.
    "RepositoryModelLoadRequest": "string repository_name 1, string model_name 2, bytes* parameters 3",
    "RepositoryModelUnloadRequest": "string repository_name 1, string model_name 2, bytes* parameters 3",
    "HealthCheckRequest": "string service 1",
    "HealthCheckResponse": "int32 status 1",
    "Empty": "",
}
"""Fields as "type name number", a list's type with a star."""

_METHODS = {
    "ServerLive": "Empty",
    "ServerReady": "Empty",
    "ModelReady": "ModelReadyRequest",
    "ServerMetadata": "Empty",
    "ModelMetadata": "ModelMetadataRequest",
    "ModelInfer": "ModelInferRequest",
    "RepositoryIndex": "RepositoryIndexRequest",
    "RepositoryModelLoad": "RepositoryModelLoadRequest",
    "RepositoryModelUnload": "RepositoryModelUnloadRequest",
}
"""The request of each method of the service."""

METHODS = tuple(_METHODS)


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="mlms/open_inference.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in filter(None, fields.split(", ")):
            kind, label, number = text.split()
            field = message.field.add(name=label, number=int(number), label=_label(kind))
            kind = kind.rstrip("*")
            if kind in _MESSAGES:
                field.type, field.type_name = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                field.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def _label(kind: str) -> Any:
    kinds = descriptor_pb2.FieldDescriptorProto
    return kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL


CLASSES = _classes()


def new(name: str, /, **fields: Any) -> Any:
    """A message by its name in the protocol."""
    return CLASSES[name](**fields)


def parse(method: str, data: bytes) -> Any:
    """A method's request.

    Raises:
        ValueError: these bytes are none.
    """
    return _parsed(_METHODS[method], data)


def parse_infer(data: bytes) -> tuple[Any, list[memoryview]]:
    """A ModelInferRequest without its ``raw_input_contents``, and these as views into ``data``.

    Raises:
        ValueError: these bytes are none.
    """
    view, kept, raw = memoryview(data), [], []
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, position = _varint(data, position)
        else:
            length = {0: None, 1: 8, 5: 4}.get(kind, -1)  # type: ignore[assignment]
        if length is None:
            _, position = _varint(data, position)
        elif length < 0 or position + length > len(data):
            raise ValueError("the request is cut short, or no protobuf message")
        else:
            position += length
        if kind == _LENGTH_DELIMITED and tag >> 3 == _RAW_INPUT_CONTENTS:
            raw.append(view[position - length : position])
        else:
            kept.append(view[start:position])
    return _parsed("ModelInferRequest", b"".join(kept)), raw


def join_infer(response: Any, raw: Sequence[bytes | memoryview]) -> bytes:
    """A ModelInferResponse with its ``raw_output_contents`` behind it."""
    parts: list[bytes | memoryview] = [response.SerializeToString()]
    tag = bytes([_RAW_OUTPUT_CONTENTS << 3 | _LENGTH_DELIMITED])
    for content in raw:
        parts += [tag, _as_varint(len(content)), content]
    return b"".join(parts)


def _parsed(name: str, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return CLASSES[name].FromString(data)
    except DecodeError:
        raise ValueError(f"the request is no {name}") from None


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number and the position behind it."""
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("the request is cut short, or no protobuf message")


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
