"""What profilers observe beside the recorded spans: sampled counters, and work that ran elsewhere (on a GPU)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counter:
    """One series of samples of one figure, in the words of OpenTelemetry's metrics.

    ``unit`` is UCUM's ("1", "By", "Hz", "J", "W", "Cel", "{fault}"). A "gauge" is the figure at that instant, a "sum"
    counts up from the first sample on, where it is 0. ``time_ns`` (shape (samples,), ascending) is Unix time, ``value``
    as many float64. ``attributes`` tell series of one name apart (which GPU, which processor state).
    """

    name: str
    unit: str
    kind: Literal["gauge", "sum"]
    time_ns: Integers
    value: npt.NDArray[np.float64]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def titles(series: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """What to call series for people: the name, and what tells it apart from the others of that name.

    >>> titles([("load", {}), ("faults", {"type": "minor", "pid": 7}), ("faults", {"type": "major", "pid": 7})])
    ['load', 'faults (type=minor)', 'faults (type=major)']
    """
    values: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for name, attributes in series:
        for key, value in attributes.items():
            values[name, key].add(str(value))
    made = []
    for name, attributes in series:
        apart = [f"{key}={value}" for key, value in attributes.items() if len(values[name, key]) > 1]
        made.append(f"{name} ({', '.join(apart)})" if apart else name)
    return made


@dataclass(frozen=True, slots=True)
class Activities:
    """Work that was launched within recorded spans and that something else timed; arrays of shape (activities,).

    ``name`` are positions in ``names``. Times are Unix ns. ``launched_in`` is what was given to
    ``Recorder.correlation.push`` when it was launched, 0 where that isn't known; the activity becomes a child of that
    span, whenever it ran. ``attributes`` has one mapping for each activity.
    """

    level: str
    names: Sequence[str]
    name: Integers
    start_ns: Integers
    end_ns: Integers
    launched_in: Integers
    attributes: Sequence[Mapping[str, Any]]
