"""Write digits-cnn as OpenVINO IR: ``python tools/export_digits.py [REPOSITORY]``.

The network is written operation by operation from its safetensors, in operations of opset 8 and before, so that it is
named as in PyTorch and every OpenVINO from 2022 on reads it. OpenVINO 2026.4.1 wrote the committed files; one version
writes the same bytes every time.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import openvino
from openvino import opset8 as ops
from safetensors.numpy import load_file


def digits_cnn(weights: Path) -> openvino.Model:
    """The network of ``mlms.builtins.pytorch.models:digits_cnn``: (batch, 1, 8, 8) to (batch, 10), float32."""
    tensors = load_file(weights)
    image = ops.parameter([-1, 1, 8, 8], np.float32, name="image")
    image.output(0).set_names({"image"})
    value = _convolution(image, tensors, "0")
    value = ops.relu(value, name="1")
    value = _convolution(value, tensors, "2")
    value = ops.relu(value, name="3")
    value = ops.max_pool(value, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], name="4").output(0)
    value = ops.reshape(value, np.array([0, -1], np.int64), special_zero=True, name="5")
    value = _linear(value, tensors, "6")
    value = ops.relu(value, name="7")
    value = _linear(value, tensors, "8")
    value.output(0).set_names({"logits"})
    return openvino.Model([ops.result(value, name="logits")], [image], "digits-cnn")


def _convolution(value: openvino.Node, tensors: dict[str, np.ndarray], name: str) -> openvino.Node:
    product = ops.convolution(value, tensors[f"{name}.weight"], [1, 1], [1, 1], [1, 1], [1, 1], name=f"{name}.product")
    return ops.add(product, tensors[f"{name}.bias"].reshape(1, -1, 1, 1), name=name)


def _linear(value: openvino.Node, tensors: dict[str, np.ndarray], name: str) -> openvino.Node:
    product = ops.matmul(value, tensors[f"{name}.weight"], False, True, name=f"{name}.product")
    return ops.add(product, tensors[f"{name}.bias"].reshape(1, -1), name=name)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write digits-cnn as OpenVINO IR.")
    parser.add_argument("repository", nargs="?", type=Path, default=Path(__file__).resolve().parents[3])
    repository = parser.parse_args().repository
    model = digits_cnn(repository / "assets/models/digits/digits-cnn.safetensors")
    folder = repository / "plugins/mlms-openvino/mlms_openvino/assets/models/digits"
    openvino.save_model(model, folder / "digits-cnn.xml", compress_to_fp16=False)
    for target in (folder / "digits-cnn.xml", folder / "digits-cnn.bin"):
        print(f"{target}: sha256 {hashlib.sha256(target.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
