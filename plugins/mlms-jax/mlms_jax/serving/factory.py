"""Functions that a factory builds, with weights from a safetensors file."""

import importlib
from pathlib import Path

import jax
import numpy as np

from .function import Function


def built(model, weights, place, options):
    """The function of the module that ``factory(**arguments)`` gives.

    A module has Flax's interface: ``apply(variables, *inputs)``, and ``init(key, *inputs)`` for random weights.
    Variables are nested dictionaries; a file's names are their paths, with dots or slashes in between.
    """
    path, _, attribute = model["factory"].partition(":")
    packages = options.get("packages", ())
    if not any(path == each or path.startswith(f"{each}.") for each in packages):
        raise ValueError(
            f"the factory {model['factory']} is in no package that the framework asset allows",
            "add its package to packages in a framework asset of your own",
        )
    try:
        module = getattr(importlib.import_module(path), attribute)(**model["arguments"])
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"the factory {model['factory']} can't be imported in the environment of JAX: {error}",
            "add its distribution to the requirements of a framework asset of your own",
        ) from error
    specs = [(each["name"], (None, *each["shape"]), np.dtype(each["dtype"])) for each in model["inputs"]]
    if weights is None:
        samples = [
            np.zeros([1 if length is None else length for length in (1, *shape[1:])], dtype)
            for _, shape, dtype in specs
        ]
        variables = module.init(jax.random.key(model["seed"]), *samples)
    else:
        variables = _nested(weights)
    variables = jax.device_put(variables, place)
    leaves = jax.tree.leaves(variables)

    def run(*arrays):
        return module.apply(variables, *arrays)

    return Function(run, specs, sum(leaf.size for leaf in leaves), sum(leaf.nbytes for leaf in leaves))


def _nested(weights):
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        flat = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{Path(weights).name} is no safetensors file: {error}", "save the variables with safetensors.numpy"
        ) from error
    nested = {}
    for name, array in flat.items():
        *folders, last = name.replace("/", ".").split(".")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = array
    return nested if "params" in nested else {"params": nested}
