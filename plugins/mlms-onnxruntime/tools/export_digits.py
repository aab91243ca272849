"""Write digits-cnn as ONNX: ``python tools/export_digits.py [REPOSITORY]``.

The network is written node by node from its safetensors, so that the file has one node for each PyTorch module, names
them as PyTorch does, and comes out the same byte for byte wherever it is made: with onnx 1.23.2, the committed one.
Opset 17 and IR version 8 are old enough for every reader of ONNX from 2022 on.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import onnx
from onnx import TensorProto, checker, helper, numpy_helper
from safetensors.numpy import load_file

OPSET = 17
IR_VERSION = 8


def digits_cnn(weights: Path) -> onnx.ModelProto:
    """The network of ``mlms.builtins.pytorch.models:digits_cnn``: (batch, 1, 8, 8) to (batch, 10), float32."""
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    layers = [
        ("Conv", "0", ["0.weight", "0.bias"], padded),
        ("Relu", "1", [], {}),
        ("Conv", "2", ["2.weight", "2.bias"], padded),
        ("Relu", "3", [], {}),
        ("MaxPool", "4", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Flatten", "5", [], {"axis": 1}),
        ("Gemm", "6", ["6.weight", "6.bias"], {"transB": 1}),
        ("Relu", "7", [], {}),
        ("Gemm", "8", ["8.weight", "8.bias"], {"transB": 1}),
    ]
    nodes, value = [], "image"
    for operator, name, tensors, attributes in layers:
        output = "logits" if name == "8" else f"{name}.output"
        nodes.append(helper.make_node(operator, [value, *tensors], [output], name=name, **attributes))
        value = output
    graph = helper.make_graph(
        nodes,
        "digits-cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(array, name) for name, array in sorted(load_file(weights).items())],
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="mlms")
    checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Write digits-cnn as ONNX.")
    parser.add_argument("repository", nargs="?", type=Path, default=Path(__file__).resolve().parents[3])
    repository = parser.parse_args().repository
    model = digits_cnn(repository / "assets/models/digits/digits-cnn.safetensors")
    here = repository / "plugins/mlms-onnxruntime/mlms_onnxruntime/assets/models/digits"
    target = here / "digits-cnn.onnx"
    target.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{target}: sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
