"""Writes digits-cnn for OpenCV: ``python plugins/mlms-opencv/tools/export_digits.py``.

Reads assets/models/digits/digits-cnn.safetensors and writes the Caffe network (digits-cnn.prototxt) and its weights
(digits-cnn.caffemodel) beside the model asset. Needs NumPy and safetensors; no Caffe, since a .caffemodel is a
protobuf message of a few fields, which are encoded here. The committed files were written with NumPy 2.4 and
safetensors 0.8; nothing in them depends on these versions.
"""

from __future__ import annotations

import argparse
import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

PLUGIN = Path(__file__).resolve().parents[1]
WEIGHTS = PLUGIN.parents[1] / "assets/models/digits/digits-cnn.safetensors"
FOLDER = PLUGIN / "mlms_opencv/assets/models/digits"

NETWORK = """\
name: "digits-cnn"
layer {
  name: "image" type: "Input" top: "image"
  input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } }
}
layer {
  name: "conv1" type: "Convolution" bottom: "image" top: "conv1"
  convolution_param { num_output: 16 kernel_size: 3 pad: 1 }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 }
}
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer {
  name: "pool" type: "Pooling" bottom: "conv2" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 }
}
layer { name: "fc1" type: "InnerProduct" bottom: "pool" top: "fc1" inner_product_param { num_output: 64 } }
layer { name: "relu3" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "logits" type: "InnerProduct" bottom: "fc1" top: "logits" inner_product_param { num_output: 10 } }
"""

LAYERS = (
    ("conv1", "Convolution", 0),
    ("conv2", "Convolution", 2),
    ("fc1", "InnerProduct", 6),
    ("logits", "InnerProduct", 8),
)
"""The layers with weights: name, type, and index in the PyTorch module."""

Layer = tuple[str, str, list[npt.NDArray[np.float32]]]
"""Name, type and blobs (weight, bias)."""


def varint(value: int) -> bytes:
    """``value`` in groups of seven bits, the lowest first; the top bit says that more follow."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field: a string, a message or a packed list."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values: npt.NDArray[np.float32]) -> bytes:
    """A BlobProto: data = 5 (packed floats) and shape = 7 (a BlobShape, whose dim = 1 is packed)."""
    shape = field(1, b"".join(varint(length) for length in values.shape))
    return field(5, struct.pack(f"<{values.size}f", *values.ravel().tolist())) + field(7, shape)


def caffemodel(name: str, layers: Iterable[Layer]) -> bytes:
    """A NetParameter: name = 1, layer = 100; a LayerParameter's name = 1, type = 2, blobs = 7."""
    encoded = [
        field(1, layer.encode()) + field(2, kind.encode()) + b"".join(field(7, blob(each)) for each in blobs)
        for layer, kind, blobs in layers
    ]
    return field(1, name.encode()) + b"".join(field(100, layer) for layer in encoded)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write digits-cnn for OpenCV's Caffe importer.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    weights = load_file(WEIGHTS)
    layers = [(name, kind, [weights[f"{index}.weight"], weights[f"{index}.bias"]]) for name, kind, index in LAYERS]
    for file, content in (
        ("digits-cnn.prototxt", NETWORK.encode()),
        ("digits-cnn.caffemodel", caffemodel("digits-cnn", layers)),
    ):
        (folder / file).write_bytes(content)
        print(f"{file} {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
