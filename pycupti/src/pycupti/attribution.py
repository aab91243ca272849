"""Which span each piece of work belongs to: by correlation id, never by time or by order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pycupti.records import Records, Rows

Spans = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The span id of every row of a table, in its order; 0 where there is none."""

    kernels: Spans
    copies: Spans
    sets: Spans
    calls: Spans


def _lookup(keys: npt.NDArray[np.unsignedinteger], values: Spans, wanted: npt.NDArray[np.unsignedinteger]) -> Spans:
    """Map `wanted` through keys to values; 0 where a key is missing. Of repeated keys the first counts."""
    if not len(keys):
        return np.zeros(len(wanted), np.uint64)
    unique, first = np.unique(keys, return_index=True)
    place = np.minimum(np.searchsorted(unique, wanted), len(unique) - 1)
    return np.where(unique[place] == wanted, values[first][place], np.uint64(0))


def attribute(records: Records) -> Attribution:
    """Join work to the spans that were open at the calls that launched it, for which the kind DRIVER is needed.

    A graph's kernels share one correlation id, their launch's; they go to the span open when their node was captured,
    and where that isn't known to the span of the launch.
    """
    calls, nodes = records.calls, records.graph_nodes

    def launched(rows: Rows) -> Spans:
        return _lookup(calls["correlation"], calls["span"], rows["correlation"])

    def worked(rows: Rows) -> Spans:
        captured = _lookup(nodes["node"], nodes["span"], rows["graph_node"])
        return np.where((rows["graph_node"] != 0) & (captured != 0), captured, launched(rows))

    return Attribution(worked(records.kernels), worked(records.copies), worked(records.sets), calls["span"])
