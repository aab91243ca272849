"""Make digits-cnn's TensorFlow files: ``python plugins/mlms-tensorflow/tools/export_digits.py FOLDER``.

Needs TensorFlow alone, and reads the weights from the repository's ``assets/models/digits``. Writes into
FOLDER the SavedModel ``digits-cnn-tensorflow.zip`` (the one that the plugin's asset names), the same network as a Keras
file and as a frozen graph. The committed file was made with TensorFlow 2.21.0 on Python 3.11. The archive's entries
have a fixed time, so that the same version makes the same bytes.
"""

import argparse
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

WEIGHTS = Path(__file__).resolve().parents[3] / "assets/models/digits/digits-cnn.safetensors"
NAME = "digits-cnn-tensorflow"


def load_weights():
    """Arrays by name, of a safetensors file: the length of a JSON header, the header, the bytes of all arrays."""
    content = WEIGHTS.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    weights = {}
    for name, about in json.loads(content[8:begin]).items():
        if name != "__metadata__":
            start, end = about["data_offsets"]
            weights[name] = np.frombuffer(content[begin + start : begin + end], "<f4").reshape(about["shape"])
    return weights


class Digits(tf.Module):
    """The network of ``mlms.builtins.pytorch.models:digits_cnn``.

    TensorFlow's convolutions on the CPU take channels last, PyTorch's weights expect them first: so images are
    transposed on the way in, and back before they are flattened.
    """

    def __init__(self, weights):
        super().__init__()
        self.kernels = [tf.Variable(weights[f"{layer}.weight"].transpose(2, 3, 1, 0)) for layer in (0, 2)]
        self.matrices = [tf.Variable(weights[f"{layer}.weight"].T) for layer in (6, 8)]
        self.biases = [tf.Variable(weights[f"{layer}.bias"]) for layer in (0, 2, 6, 8)]

    @tf.function(input_signature=[tf.TensorSpec([None, 1, 8, 8], tf.float32, "image")])
    def __call__(self, image):
        values = tf.transpose(image, [0, 2, 3, 1])
        for layer, kernel in enumerate(self.kernels):
            with tf.name_scope(f"conv{layer + 1}"):
                values = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(values, kernel, 1, "SAME"), self.biases[layer]))
        values = tf.nn.max_pool2d(values, 2, 2, "VALID", name="pool")
        values = tf.reshape(tf.transpose(values, [0, 3, 1, 2]), [-1, 32 * 4 * 4])
        with tf.name_scope("dense1"):
            values = tf.nn.relu(tf.nn.bias_add(tf.matmul(values, self.matrices[0]), self.biases[2]))
        with tf.name_scope("dense2"):
            return {"logits": tf.nn.bias_add(tf.matmul(values, self.matrices[1]), self.biases[3])}


def keras_model(weights):
    """The same as a Keras model."""
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            tf.keras.Input((1, 8, 8), name="image"),
            layers.Permute((2, 3, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(64, activation="relu", name="dense1"),
            layers.Dense(10, name="logits"),
        ]
    )
    for name, layer in (("conv1", 0), ("conv2", 2), ("dense1", 6), ("logits", 8)):
        kernel = weights[f"{layer}.weight"]
        kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel.T
        model.get_layer(name).set_weights([kernel, weights[f"{layer}.bias"]])
    return model


def pack(folder, archive):
    """Zip ``folder`` without what differs from run to run."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != "fingerprint.pb":
                entry = zipfile.ZipInfo(str(Path(NAME) / file.relative_to(folder)), (1980, 1, 1, 0, 0, 0))
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
                packed.writestr(entry, file.read_bytes())


def main():
    parser = argparse.ArgumentParser(description="Make digits-cnn's TensorFlow files.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    weights = load_weights()
    module = Digits(weights)
    with tempfile.TemporaryDirectory() as saved:
        tf.saved_model.save(module, saved, signatures={"serving_default": module.__call__})
        pack(Path(saved), folder / f"{NAME}.zip")
    keras_model(weights).save(folder / f"{NAME}.keras")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(module.__call__.get_concrete_function())
    (folder / f"{NAME}.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
