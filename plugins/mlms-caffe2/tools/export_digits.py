"""Make digits-cnn as Caffe2's init and predict nets: ``python tools/export_digits.py [FOLDER]``.

It is run by the Python of an environment that Caffe2 is in (``mlms_caffe2/assets/frameworks/caffe2.yaml`` has what that
takes). The committed files were made by PyTorch 1.10.2 with NumPy 1.23.5 and protobuf 3.20.3 in Python 3.9.
"""

import argparse
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
from caffe2.python import core

HERE = Path(__file__).resolve()
WEIGHTS = HERE.parents[3] / "assets/models/digits/digits-cnn.safetensors"
FOLDER = HERE.parents[1] / "mlms_caffe2/assets/models/digits"


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


def nets(weights):
    """What puts the weights into blobs, and the network of ``mlms.builtins.pytorch.models:digits_cnn``."""
    init, predict = core.Net("init"), core.Net("digits-cnn")
    for layer, place in {"conv1": "0", "conv2": "2", "fc1": "6", "fc2": "8"}.items():
        for kind, short in {"weight": "w", "bias": "b"}.items():
            array = weights["{}.{}".format(place, kind)]
            init.GivenTensorFill([], layer + "_" + short, shape=array.shape, values=array.flatten().tolist())
    predict.Conv(["image", "conv1_w", "conv1_b"], "conv1", kernel=3, pad=1, order="NCHW")
    predict.Relu("conv1", "relu1")
    predict.Conv(["relu1", "conv2_w", "conv2_b"], "conv2", kernel=3, pad=1, order="NCHW")
    predict.Relu("conv2", "relu2")
    predict.MaxPool("relu2", "pool", kernel=2, stride=2, order="NCHW")
    predict.Flatten("pool", "flatten")
    predict.FC(["flatten", "fc1_w", "fc1_b"], "fc1")
    predict.Relu("fc1", "relu3")
    predict.FC(["relu3", "fc2_w", "fc2_b"], "fc2")
    for blob in ["image"] + [operator.output[0] for operator in init.Proto().op]:
        if blob not in predict.Proto().external_input:
            predict.Proto().external_input.append(blob)
    init.Proto().external_output.extend(operator.output[0] for operator in init.Proto().op)
    predict.Proto().external_output.append("fc2")
    return init.Proto(), predict.Proto()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, net in zip(("init", "predict"), nets(tensors(WEIGHTS))):
        for operator in net.op:
            operator.debug_info = ""  # a stack trace with this machine's paths
        file = folder / "digits-cnn-{}.pb".format(name)
        file.write_bytes(net.SerializeToString(deterministic=True))
        print(file, hashlib.sha256(file.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
