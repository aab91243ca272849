"""Make digits-cnn as an MXNet symbol with its parameters: ``python tools/export_digits.py [FOLDER]``.

It is run by the Python of an environment that MXNet is in (``mlms_mxnet/assets/frameworks/mxnet.yaml`` has what that
takes). The committed files were made by MXNet 1.9.1 with NumPy 1.23.5 in Python 3.11.
"""

import argparse
import hashlib
import json
import struct
from pathlib import Path

import mxnet as mx
import numpy as np

HERE = Path(__file__).resolve()
WEIGHTS = HERE.parents[3] / "assets/models/digits/digits-cnn.safetensors"
FOLDER = HERE.parents[1] / "mlms_mxnet/assets/models/digits"


def tensors(path):
    """The float32 arrays of a safetensors file by name: a header's length, the header in JSON, bytes."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length].decode("utf-8"))
    header.pop("__metadata__", None)
    data = content[8 + length :]
    return {
        name: np.frombuffer(data[slice(*about["data_offsets"])], "<f4").reshape(about["shape"])
        for name, about in header.items()
    }


def symbol():
    """The network of ``mlms.builtins.pytorch.models:digits_cnn``; its layers are named by their place in that."""
    found = mx.sym.Variable("image")
    found = mx.sym.Convolution(found, name="conv1", num_filter=16, kernel=(3, 3), pad=(1, 1))
    found = mx.sym.Activation(found, name="relu1", act_type="relu")
    found = mx.sym.Convolution(found, name="conv2", num_filter=32, kernel=(3, 3), pad=(1, 1))
    found = mx.sym.Activation(found, name="relu2", act_type="relu")
    found = mx.sym.Pooling(found, name="pool", kernel=(2, 2), stride=(2, 2), pool_type="max")
    found = mx.sym.Flatten(found, name="flatten")
    found = mx.sym.FullyConnected(found, name="fc1", num_hidden=64)
    found = mx.sym.Activation(found, name="relu3", act_type="relu")
    return mx.sym.FullyConnected(found, name="fc2", num_hidden=10)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    weights = tensors(WEIGHTS)
    layers = {"conv1": "0", "conv2": "2", "fc1": "6", "fc2": "8"}
    parameters = {
        "arg:{}_{}".format(layer, kind): mx.nd.array(weights["{}.{}".format(place, kind)])
        for layer, place in layers.items()
        for kind in ("weight", "bias")
    }
    files = [folder / "digits-cnn-symbol.json", folder / "digits-cnn.params"]
    symbol().save(str(files[0]))
    mx.nd.save(str(files[1]), parameters)
    for file in files:
        print(file, hashlib.sha256(file.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
