"""Make digits-cnn's JAX file: ``python plugins/mlms-jax/tools/export_digits.py FOLDER``.

Needs JAX, flatbuffers and safetensors, and reads the weights from the repository's ``assets/models/digits``. Writes
``digits-cnn-jax.jaxexport`` into FOLDER, for any batch size, for the CPU and for CUDA. The committed file was made with
JAX 0.10.2 on Python 3.11; the same version makes the same bytes.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export, lax
from safetensors.numpy import load_file

WEIGHTS = Path(__file__).resolve().parents[3] / "assets/models/digits/digits-cnn.safetensors"
NAME = "digits-cnn-jax"


def digits(weights):
    """The network of ``mlms.builtins.pytorch.models:digits_cnn``, with its weights within."""

    def convolved(values, layer):
        found = lax.conv_general_dilated(values, weights[f"{layer}.weight"], (1, 1), "SAME")  # NCHW and OIHW
        return jax.nn.relu(found + weights[f"{layer}.bias"][:, None, None])

    def dense(values, layer):
        return values @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]

    def digits_cnn(image):
        values = convolved(convolved(image, 0), 2)
        values = lax.reduce_window(values, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        values = jax.nn.relu(dense(values.reshape(values.shape[0], -1), 6))
        return {"logits": dense(values, 8)}

    return digits_cnn


def main():
    parser = argparse.ArgumentParser(description="Make digits-cnn's JAX file.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_traceback_in_locations_limit", 0)  # else lines of this file are in the bytes
    (batch,) = export.symbolic_shape("batch")
    image = jax.ShapeDtypeStruct((batch, 1, 8, 8), jnp.float32)
    function = export.export(jax.jit(digits(load_file(WEIGHTS))), platforms=("cpu", "cuda"))(image)
    (folder / f"{NAME}.jaxexport").write_bytes(function.serialize())


if __name__ == "__main__":
    main()
