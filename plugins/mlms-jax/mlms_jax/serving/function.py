"""What a file or a factory gives: a function of arrays, by name."""

from dataclasses import dataclass
from typing import Any

import jax


@dataclass
class Function:
    """``run(*arrays)``, of the asset's inputs in their order, gives a pytree of arrays.

    ``specs`` are (name, shape with the batch, dtype) of each input; a length that is no int is free.
    """

    run: Any
    specs: list
    parameters: int
    size_bytes: int


def named(tree):
    """(name, leaf) of each leaf of a pytree of inputs or outputs: keys of mappings, else "output" and a number."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    found = []
    for number, (path, leaf) in enumerate(leaves):
        keys = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
        words = [key for key in keys if not key.isdigit()]
        found.append((".".join(words) if words else f"output_{number}" if len(leaves) > 1 else "output", leaf))
    if len({name for name, _ in found}) < len(found):
        found = [(f"output_{number}", leaf) for number, (_, leaf) in enumerate(found)]
    return found


def matched(wanted, specs, file):
    """The place among ``specs`` (name, shape with the batch, dtype) of each of the asset's inputs.

    By name where all names agree, else in order. Raises ValueError where the asset's inputs aren't the file's.
    """
    if len(wanted) != len(specs):
        raise ValueError(
            f"{file} takes {len(specs)} inputs, its asset has {len(wanted)}", "mend input in the model asset"
        )
    places = {name: place for place, (name, _, _) in enumerate(specs)}
    by_name = set(places) == {each["name"] for each in wanted}
    order = [places[each["name"]] if by_name else place for place, each in enumerate(wanted)]
    for each, place in zip(wanted, order, strict=True):
        _, shape, dtype = specs[place]
        expected = (None, *each["shape"])
        if str(dtype) != each["dtype"] or not fits(shape, expected):
            raise ValueError(
                f"{file} takes '{each['name']}' as {dtype} {shown(shape)}, its asset has it as {each['dtype']} "
                f"{shown(expected)}",
                "mend input in the model asset; its shape is one sample's, without the batch",
            )
    return order


def fits(shape, expected):
    """Whether two shapes agree where both have a length, not a name or nothing."""
    return len(shape) == len(expected) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(shape, expected, strict=True)
    )


def shown(shape):
    return "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"
