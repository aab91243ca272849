"""Functions that jax.export wrote into a file."""

import re
from pathlib import Path

import jax
import numpy as np
from jax import export
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

from .function import Function, matched, named

MEND = "write the file with jax.export.export(jax.jit(f))(...).serialize()"
NEWER = "raise jax in the framework asset's requirements, or export with an older JAX"


def exported(model, weights, place, options):
    """The function of a file; ValueError names the file and the mend."""
    if weights is None:
        raise ValueError(
            "an exported function has its weights within, there are no random ones",
            "give the asset weights: {file: ...}, or a factory",
        )
    name = Path(weights).name
    content = bytearray(Path(weights).read_bytes())
    try:
        found = export.deserialize(content)
    except Exception as error:  # flatbuffers raises anything on bytes that are none of its own
        raise ValueError(
            f"{name} is no function exported by jax.export, or one by a JAX that JAX {jax.__version__} can't read "
            f"({type(error).__name__}: {error})",
            MEND,
        ) from error
    newest = export.maximum_supported_calling_convention_version
    if found.calling_convention_version > newest:  # JAX itself doesn't look
        raise ValueError(
            f"{name} has calling convention version {found.calling_convention_version}, "
            f"JAX {jax.__version__} knows {newest} at most",
            NEWER,
        )
    try:
        parameters, size = _constants(found.mlir_module_serialized)
    except Exception as error:  # MLIR's own, which is no public class
        version = re.search(rb"StableHLO_v[\d.]+", found.mlir_module_serialized[:40])  # who wrote it, near the start
        written = version[0].decode() if version else "no StableHLO"
        raise ValueError(f"{name} holds {written}, which JAX {jax.__version__} can't read", NEWER) from error
    platform = "cuda" if place.platform == "gpu" else place.platform
    if platform not in found.platforms:
        raise ValueError(
            f"{name} was exported for {', '.join(found.platforms)}, not for {platform}",
            f"export it with platforms=[..., '{platform}'], or choose another device",
        )
    arguments = named(found.in_tree.unflatten(found.in_avals))
    specs = [(key, each.shape, each.dtype) for key, each in arguments]
    order = matched(model["inputs"], specs, name)
    places = [order.index(place) for place in range(len(specs))]

    def run(*arrays):
        positional, keyword = found.in_tree.unflatten([arrays[place] for place in places])
        return found.call(*positional, **keyword)

    inputs = [(each["name"], *specs[place][1:]) for each, place in zip(model["inputs"], order, strict=True)]
    return Function(run, inputs, parameters, size)


def _constants(artifact):
    """How many floating-point numbers a StableHLO artifact has within, in arrays, and their bytes."""
    counted = [0, 0]

    def visit(operation):
        if operation.name == "stablehlo.constant":
            kind = ir.RankedTensorType(operation.results[0].type)
            if kind.rank and isinstance(kind.element_type, ir.FloatType):
                count = int(np.prod(kind.shape))
                counted[0] += count
                counted[1] += count * kind.element_type.width // 8
        return ir.WalkResult.ADVANCE

    with ir.Context() as context:
        stablehlo.deserialize_portable_artifact(context, artifact).operation.walk(visit)
    return counted
