"""Which call launched each piece of work, and in which span: by correlation id, never by time or by order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pycupti.records import Records, Rows

Spans = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The span id of every row of a table, in its order; 0 where there is none."""

    kernels: Spans
    copies: Spans
    sets: Spans
    calls: Spans


def _find(keys: npt.NDArray[np.unsignedinteger], wanted: npt.NDArray[np.unsignedinteger]) -> Positions:
    """Find where in `keys` each of `wanted` is first; -1 where it isn't."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    unique, first = np.unique(keys, return_index=True)
    place = np.minimum(np.searchsorted(unique, wanted), len(unique) - 1)
    return np.where(unique[place] == wanted, first[place], -1)


def _spans(rows: Rows, positions: Positions) -> Spans:
    """Take the spans of rows of calls or graph nodes; 0 where the position is -1."""
    if not len(rows):
        return np.zeros(len(positions), np.uint64)
    return np.where(positions >= 0, rows["span"][positions], np.uint64(0))


def launching_calls(records: Records, rows: Rows) -> Positions:
    """Find the row of `records.calls` that launched each kernel, copy or memset of `rows`; -1 where none is known."""
    return _find(records.calls["correlation"], rows["correlation"])


def attribute(records: Records) -> Attribution:
    """Join work to the spans that were open at the calls that launched it, for which the kind DRIVER is needed.

    A graph's kernels share one correlation id, their launch's; they go to the span open when their node was captured,
    and where that isn't known to the span of the launch.
    """

    def worked(rows: Rows) -> Spans:
        nodes = np.where(rows["graph_node"] != 0, _find(records.graph_nodes["node"], rows["graph_node"]), -1)
        captured = _spans(records.graph_nodes, nodes)
        return np.where(captured != 0, captured, _spans(records.calls, launching_calls(records, rows)))

    return Attribution(
        worked(records.kernels), worked(records.copies), worked(records.sets), records.calls["span"].copy()
    )
