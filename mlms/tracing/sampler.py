"""A process that samples figures until it is told to end: the other side of ``mlms.tracing.sampling``.

It imports the standard library and what its source needs, and keeps its samples in memory: nothing is written, and
nobody has to read, while something is measured.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter_ns
from typing import IO, Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Series:
    """A figure that is sampled: name, unit (UCUM), kind and attributes as of ``mlms.tracing.observations.Counter``."""

    name: str
    unit: str
    kind: Literal["gauge", "sum"]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """What is sampled; made, and read, in the sampling process alone."""

    @property
    def series(self) -> Sequence[Series]:
        """The figures that there are on this machine; none if it can't be observed."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What can't be observed, a line each: what, why, and the mend."""
        ...

    def read(self) -> Sequence[float]:
        """The value of each series at this instant, NaN where there is none now."""
        ...


def main(source: str, arguments: str, interval_ns: str) -> None:
    """Sample ``source`` ("module:attribute", called with the keywords in ``arguments``, a JSON object).

    Standard output gets a line of JSON once the first sample is taken (``series``, ``notes``, ``error``), and when
    standard input has closed one more (``samples``, ``error``), then the times of the samples (int64, ns of
    ``perf_counter_ns``) and their values (float64, a row a sample).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started this, and ends it through standard input
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what a library prints must not mix with the samples
        try:
            module, _, attribute = source.partition(":")
            made: Source = getattr(importlib.import_module(module), attribute)(**json.loads(arguments))
            series = [asdict(one) for one in made.series]
            times = array("q", [perf_counter_ns()] if series else [])
            values = array("d", made.read() if series else [])
        except Exception as error:
            _tell(out, series=[], notes=[], error=f"{type(error).__name__}: {error}")
            return
        _tell(out, series=series, notes=list(made.notes), error=None)
        if not series:
            return
        failure = _sample(made.read, int(interval_ns), times, values)
        _tell(out, samples=len(times), error=failure)
        out.write(times.tobytes())
        out.write(values.tobytes())


def _sample(
    read: Callable[[], Sequence[float]], interval_ns: int, times: array[int], values: array[float]
) -> str | None:
    """Add samples to the first one until standard input closes, or ``read`` fails; then why it did."""
    due = times[0]
    ending = False
    while not ending:
        # A sample that came late is not made up for: two in a row would tell nothing.
        due = max(due + interval_ns, perf_counter_ns())
        pause = max(0, due - perf_counter_ns()) / 1e9
        # The last sample is from after the end of what is measured.
        ending = bool(select.select([sys.stdin], [], [], pause)[0])
        now = perf_counter_ns()
        try:
            row = read()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        times.append(now)
        values.extend(row)
    return None


def _tell(out: IO[bytes], **facts: Any) -> None:
    out.write(json.dumps(facts).encode() + b"\n")
    out.flush()
