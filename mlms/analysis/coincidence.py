"""Which queries ran while something else happened: a garbage collection, page faults, throttling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def coinciding(starts: Integers, ends: Integers, events: Integers) -> npt.NDArray[np.bool_]:
    """Whether each query (from start to end) overlaps any event; shape (queries,).

    ``events`` has shape (events, 2), begin and end on the same clock; an instant begins where it ends. Queries may
    overlap one another, and so may events.
    """
    begun = np.searchsorted(np.sort(events[:, 0]), ends, side="right")
    over = np.searchsorted(np.sort(events[:, 1]), starts, side="left")
    overlaps: npt.NDArray[np.bool_] = begun > over
    return overlaps


def coincidences(
    starts: Integers, ends: Integers, slow: npt.NDArray[np.bool_], events: Mapping[str, Integers]
) -> dict[str, dict[str, int]]:
    """For each kind of event: how many, how many queries they fell into, and how many of the ``slow`` ones."""
    found = {}
    for kind, spans in events.items():
        hit = coinciding(starts, ends, spans)
        found[kind] = {"events": len(spans), "queries": int(hit.sum()), "outliers": int((hit & slow).sum())}
    return found
