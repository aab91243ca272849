"""What an ONNX file says of itself, read without its external data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

FLOATS = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
BITS = {
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.BFLOAT16), 16),
    **dict.fromkeys((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64, TensorProto.COMPLEX64), 64),
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 32),
    **dict.fromkeys((TensorProto.INT16, TensorProto.UINT16), 16),
    **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4), 4),
    TensorProto.COMPLEX128: 128,
}
"""Bits of an element; 8 of any other type."""

INDICES = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING)
"""Element types of shapes, axes and the like, which are no parameters."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """``size_bytes`` is that of all initializers, ``dtype`` the floating-point type of most of them, ``external`` are
    the files, relative to ``path``'s folder, that hold initializers."""

    path: Path
    parameters: int
    size_bytes: int
    dtype: str
    nodes: int
    external: tuple[str, ...]


def read(path: Path) -> ModelFile:
    """Raises ValueError where the file is no ONNX model."""
    model = _model(path)
    tensors = model.graph.initializer
    elements = [prod(tensor.dims) for tensor in tensors]
    floats: Counter[str] = Counter()
    for tensor, count in zip(tensors, elements, strict=True):
        if tensor.data_type in FLOATS:
            floats[FLOATS[tensor.data_type]] += count
    if not floats:
        values = [*model.graph.input, *model.graph.output]
        types = [value.type.tensor_type.elem_type for value in values]
        floats.update(FLOATS[kind] for kind in types if kind in FLOATS)
    locations = (
        entry.value
        for tensor in tensors
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    )
    return ModelFile(
        path=path,
        parameters=sum(
            count for tensor, count in zip(tensors, elements, strict=True) if tensor.data_type not in INDICES
        ),
        size_bytes=sum(
            (count * BITS.get(tensor.data_type, 8) + 7) // 8 for tensor, count in zip(tensors, elements, strict=True)
        ),
        dtype=floats.most_common(1)[0][0] if floats else "float32",
        nodes=len(model.graph.node),
        external=tuple(dict.fromkeys(locations)),
    )


def count_flops(path: Path, batch: Mapping[str, npt.NDArray[np.generic]]) -> int | None:
    """Floating-point operations of the convolutions and matrix products, a multiply-add being two.

    None where ONNX's shape inference doesn't tell a shape that is needed.
    """
    model = _model(path)
    for value in model.graph.input:
        if value.name in batch:
            dtype = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, dtype, batch[value.name].shape))
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")  # is inferred anew; what it says of the batch may be a name
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    total = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        first, second, output = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
        if not first or not second or output is None:
            return None
        if node.op_type == "Conv":
            total += 2 * prod(output) * prod(second[1:])
        elif node.op_type == "ConvTranspose":
            total += 2 * prod(first) * prod(second[1:])
        else:
            transposed = any(each.name == "transA" and each.i for each in node.attribute)
            total += 2 * prod(output) * first[0 if transposed else -1]
    return total


def _model(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise ValueError(f"{path} is no ONNX model, or is broken: {error}", "export it again") from error
    if not model.graph.output:
        raise ValueError(f"{path} is no ONNX model: it has no graph with an output", "export it again")
    return model
