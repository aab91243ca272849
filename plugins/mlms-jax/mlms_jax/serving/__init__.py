"""JAX as mlms's serving contract has it. Runs in the worker, so it imports nothing of mlms."""

import os

import jax
import jax.extend.backend
import jaxlib

from .exported import exported
from .factory import built
from .model import Model

__all__ = ["describe", "devices", "load"]

WIDE = ("float64", "int64", "uint64")


def devices():
    found = [_name(device) for device in jax.devices()]
    return found if "cpu" in found else [*found, "cpu"]


def describe():
    return {
        "version": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "threads": int(os.environ["NPROC"]) if "NPROC" in os.environ else None,
    }


def load(model, weights, device, options):
    dtype = options.get("dtype", "float32")
    if dtype != "float32":
        raise ValueError(
            f"JAX runs a function in the precision that it was written in, not in {dtype}",
            "leave dtype out, and export the function in the precision that is wanted",
        )
    if any(each["dtype"] in WIDE for each in model["inputs"]):
        jax.config.update("jax_enable_x64", True)  # else JAX makes them 32 bits wide
    _set_threads(options.get("threads"))
    place = next(each for each in [*jax.devices(), *jax.devices("cpu")] if _name(each) == device)
    jax.config.update("jax_default_device", place)
    read = exported if model["factory"] is None else built
    return Model(read(model, weights, place, options), place, device, dtype)


def _name(device):
    return "cpu" if device.platform == "cpu" else f"cuda:{device.id}"


def _set_threads(threads):
    """XLA sizes its pools of threads when its CPU client is made, after NPROC."""
    if threads is None or os.environ.get("NPROC") == str(threads):
        return
    os.environ["NPROC"] = str(threads)
    jax.extend.backend.clear_backends()  # asking for the devices made a client
