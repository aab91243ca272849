"""Make digits-cnn as a model of CNTK: ``python tools/export_digits.py [FOLDER]``.

It is run by the Python of an environment that CNTK is in (``mlms_cntk/assets/frameworks/cntk.yaml`` has what that
takes). The committed file was made by CNTK 2.7 with NumPy 1.19.5 in Python 3.6.
"""

import argparse
import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "mlms_cntk"))
import serving  # noqa: E402  it finds Open MPI for CNTK

WEIGHTS = HERE.parents[3] / "assets/models/digits/digits-cnn.safetensors"
FOLDER = HERE.parents[1] / "mlms_cntk/assets/models/digits"


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


def network(weights):
    """The network of ``mlms.builtins.pytorch.models:digits_cnn``; CNTK's matrices are (inputs, outputs)."""
    C = serving._cntk()

    def convolution(layer, place, value):
        filters = C.parameter(init=weights[place + ".weight"], name=layer + "_w")
        bias = C.parameter(init=weights[place + ".bias"].reshape(-1, 1, 1), name=layer + "_b")
        value = C.convolution(filters, value, auto_padding=[False, True, True], name=layer)
        return C.plus(value, bias, name=layer + "_bias")

    def dense(layer, place, value):
        matrix = C.parameter(init=np.ascontiguousarray(weights[place + ".weight"].T), name=layer + "_w")
        bias = C.parameter(init=weights[place + ".bias"], name=layer + "_b")
        return C.plus(C.times(value, matrix, name=layer), bias, name=layer + "_bias")

    value = C.input_variable((1, 8, 8), name="image")
    value = C.relu(convolution("conv1", "0", value), name="relu1")
    value = C.relu(convolution("conv2", "2", value), name="relu2")
    value = C.pooling(value, C.MAX_POOLING, (2, 2), (2, 2), name="pool")
    value = C.reshape(value, (512,), name="flatten")
    value = C.relu(dense("fc1", "6", value), name="relu3")
    return dense("fc2", "8", value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "digits-cnn.model"
    network(tensors(WEIGHTS)).save(str(file))
    print(file, hashlib.sha256(file.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
