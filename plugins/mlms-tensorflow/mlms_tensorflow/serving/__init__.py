"""TensorFlow as mlms's serving contract has it. Runs in the worker, so it imports nothing of mlms."""

import gc

import tensorflow as tf

from .formats import opened
from .model import Model
from .threads import set_threads

__all__ = ["describe", "devices", "load"]


def devices():
    return [*(f"cuda:{index}" for index, _ in enumerate(tf.config.list_physical_devices("GPU"))), "cpu"]


def describe():
    return {
        "version": tf.__version__,
        "keras": tf.keras.__version__,
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or None,
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads() or None,
    }


def load(model, weights, device, options):
    if weights is None:
        raise ValueError(
            "a TensorFlow model is a file, which holds its weights; it has no random ones",
            "give the asset weights: {file: ...}",
        )
    dtype = options.get("dtype", "float32")
    if dtype != "float32":
        raise ValueError(
            f"TensorFlow runs a model in the precision that its file has, not in {dtype}",
            "leave dtype out, and export the model in the precision that is wanted",
        )
    set_threads(options.get("threads"), options.get("inter_op_threads"))
    _use(device)
    gc.collect()  # what a model before this one has left
    return Model(opened(model, weights, options), device, dtype)


def _use(device):
    """Have TensorFlow place everything on ``device``, without taking all of a GPU's memory at once."""
    everyone = tf.config.list_physical_devices("GPU")
    chosen = [gpu for index, gpu in enumerate(everyone) if device == f"cuda:{index}"]
    if tf.config.get_visible_devices("GPU") == chosen:
        return
    try:
        tf.config.set_visible_devices(chosen, "GPU")
        for gpu in chosen:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise ValueError(
            f"TensorFlow is in use in this process already and can't move to {device}",
            "give the framework asset an environment with isolation: venv",
        ) from error
