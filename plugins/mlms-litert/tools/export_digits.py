"""Writes digits-cnn for LiteRT: ``python plugins/mlms-litert/tools/export_digits.py``.

Reads assets/models/digits/digits-cnn.safetensors and writes digits-cnn.tflite beside the model asset, with float32
weights and TensorFlow's converter. TensorFlow is needed for this alone and takes 600 MB, so let it live elsewhere:

    uv venv --python 3.11 /tmp/tensorflow
    uv pip install --python /tmp/tensorflow/bin/python 'tensorflow-cpu==2.21.*' safetensors
    /tmp/tensorflow/bin/python plugins/mlms-litert/tools/export_digits.py

The committed file was written with tensorflow-cpu 2.21.0 and Python 3.11.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import tensorflow as tf
from safetensors.numpy import load_file

PLUGIN = Path(__file__).resolve().parents[1]
WEIGHTS = PLUGIN.parents[1] / "assets/models/digits/digits-cnn.safetensors"
FOLDER = PLUGIN / "mlms_litert/assets/models/digits"


class Digits(tf.Module):
    """Takes images of shape (n, 1, 8, 8), gives logits of shape (n, 10); channels are last inside."""

    def __init__(self) -> None:
        super().__init__()
        weights = load_file(WEIGHTS)
        self.kernels = [tf.constant(weights[f"{index}.weight"].transpose(2, 3, 1, 0)) for index in (0, 2)]
        # The columns of the first dense layer in the order of (height, width, channel).
        dense = weights["6.weight"].reshape(64, 32, 4, 4).transpose(2, 3, 1, 0).reshape(512, 64)
        self.matrices = [tf.constant(dense), tf.constant(weights["8.weight"].T)]
        self.biases = [tf.constant(weights[f"{index}.bias"]) for index in (0, 2, 6, 8)]

    @tf.function(input_signature=[tf.TensorSpec((None, 1, 8, 8), tf.float32, "image")])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        value = tf.reshape(image, (-1, 8, 8, 1))  # with one channel, moving it is no more than another shape
        for kernel, bias in zip(self.kernels, self.biases[:2], strict=True):
            value = tf.nn.relu(tf.nn.conv2d(value, kernel, 1, "SAME") + bias)
        value = tf.reshape(tf.nn.max_pool2d(value, 2, 2, "VALID"), (-1, 512))
        value = tf.nn.relu(tf.matmul(value, self.matrices[0]) + self.biases[2])
        return {"logits": tf.matmul(value, self.matrices[1]) + self.biases[3]}


def convert() -> bytes:
    """The flatbuffer, with a signature that names input and output."""
    model = Digits()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures=model.serve)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def main() -> None:
    parser = argparse.ArgumentParser(description="Write digits-cnn for LiteRT.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    content = convert()
    (parser.parse_args().folder / "digits-cnn.tflite").write_bytes(content)
    print(f"digits-cnn.tflite {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
