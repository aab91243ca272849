"""Traced activity as numpy structured arrays; the rows are declared, with their units, in decl/records.h."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pycupti.library import core

Rows = npt.NDArray[np.void]

_FORMATS = {
    "uint8_t": "u1",
    "uint16_t": "u2",
    "uint32_t": "u4",
    "uint64_t": "u8",
    "int32_t": "i4",
}

#: The C struct of each table.
ROW_TYPES = {
    "kernels": "pcu_kernel",
    "copies": "pcu_copy",
    "sets": "pcu_set",
    "calls": "pcu_call",
    "overheads": "pcu_overhead",
    "synchronizations": "pcu_synchronization",
    "markers": "pcu_marker",
    "memory": "pcu_memory",
    "graph_nodes": "pcu_graph_node",
}


def _format(ctype: Any) -> Any:
    if ctype.kind == "array":
        return (_FORMATS[ctype.item.cname], (ctype.length,))
    return _FORMATS[ctype.cname]


@cache
def dtype(table: str) -> np.dtype[np.void]:
    """Return the row type of a table, read off the C declaration."""
    ffi = core().ffi
    struct = ffi.typeof(ROW_TYPES[table])
    return np.dtype(
        {
            "names": [name for name, _ in struct.fields],
            "formats": [_format(field.type) for _, field in struct.fields],
            "offsets": [field.offset for _, field in struct.fields],
            "itemsize": ffi.sizeof(struct),
        }
    )


@dataclass(frozen=True, slots=True)
class Records:
    """What one drain gave: a table a kind, and the names that `name` columns index.

    Times are Unix nanoseconds. `graph_nodes` maps every graph node known so far to the span open at its capture.
    """

    kernels: Rows
    copies: Rows
    sets: Rows
    calls: Rows
    overheads: Rows
    synchronizations: Rows
    markers: Rows
    memory: Rows
    graph_nodes: Rows
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of records and calls, graph nodes not counted."""
        return sum(len(getattr(self, table)) for table in ROW_TYPES if table != "graph_nodes")


def _adopt(table: Any, name: str) -> Rows:
    """View a C table as an array that owns it; nothing is copied."""
    module = core()
    if not table.rows:
        module.lib.pcu_unmap(table.data, table.mapped)
        return np.empty(0, dtype(name))
    mapped = table.mapped
    owned = module.ffi.gc(
        module.ffi.cast("char *", table.data), lambda data: module.lib.pcu_unmap(data, mapped), size=mapped
    )
    return np.frombuffer(module.ffi.buffer(owned, table.rows * table.row_bytes), dtype(name))


def adopt(tables: Any, names: tuple[str, ...]) -> Records:
    """Take over the tables that the core handed out."""
    adopted = {name: _adopt(getattr(tables, name), name) for name in ROW_TYPES}
    return Records(**adopted, names=names)


def merge(parts: Iterable[Records]) -> Records:
    """Join what several drains gave, in order; the names and graph nodes of the last hold for all."""
    kept = list(parts)
    if not kept:
        raise ValueError("nothing to merge")
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in kept])
        for field in fields(Records)
        if field.name not in ("names", "graph_nodes")
    }
    return Records(**joined, graph_nodes=kept[-1].graph_nodes, names=kept[-1].names)
