"""Spans below a prediction, recorded while the model runs at the least cost that Python allows.

An entry or exit is two integers (what, when) appended to a buffer of the thread's own (``events``): no lock, no object,
no formatting. Nesting, parents and identifiers are worked out afterwards, for all spans at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.tracing.events import ENTER, EXIT, FAILED, Buffer, new_events
from mlms.tracing.observations import Activities, Counter
from mlms.utf8 import escaped

SPILL_BYTES = 256 << 20
REPORTED_AT_ONCE = 20_000
EVENT_BYTES = 48
"""What an event in a buffer takes at most: in Python, two places in a list and an object for the time."""


@dataclass(slots=True)
class Name:
    """What a recorded span is: its text, its level, and the attributes that are the same at each call.

    ``calls`` has further attributes for the first, second, ... call below one root; it may be filled in at any time.
    """

    text: str
    level: str
    attributes: Mapping[str, Any]
    calls: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Correlation:
    """What is to be told of each recorded span as it opens and closes, on its thread: ``push`` gets the span's key."""

    push: Callable[[int], object]
    pop: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Part:
    """Whole spans of one thread: ``events`` (shape (events, 2): what, when) and the key of each event that enters."""

    thread: int
    events: npt.NDArray[np.int64]
    keys: npt.NDArray[np.int64]


class Recorder:
    """Records entries and exits of named spans, in any number of threads, and takes what profilers observe beside them.

    ``correlation`` is to be set, if at all, before anything is wrapped. ``counters``, ``activities`` and ``notes``
    (lines for the person who reads the result) are filled when nothing is measured.
    """

    def __init__(self, spill: Path | None = None, spill_bytes: int = SPILL_BYTES) -> None:
        """``spill`` is a folder for what exceeds ``spill_bytes``; without one everything stays in memory."""
        self.names: list[Name] = []
        self.correlation: Correlation | None = None
        self.counters: list[Counter] = []
        self.activities: list[Activities] = []
        self.notes: list[str] = []
        self.reported_at_once = REPORTED_AT_ONCE
        """So many spans that a runtime reports are nested at once; 1 has them here with each prediction."""
        self.events = new_events()
        self._spill = spill
        self._spill_bytes = spill_bytes
        self._spilled: list[tuple[int, Path]] = []
        self._added: list[Part] = []
        self._added_bytes = 0

    def intern(self, text: str, level: str, attributes: Mapping[str, Any] | None = None) -> int:
        """An identifier for a span's name; not for the hot path."""
        self.names.append(Name(escaped(text), level, attributes or {}))
        return len(self.names) - 1

    def wrap(self, function: Callable[..., Any], identifier: int) -> Callable[..., Any]:
        """``function``, each call of it recorded as a span."""
        if self.correlation is None:
            return self.events.wrap(function, identifier)
        return self.events.wrap(function, identifier, self.correlation.push, self.correlation.pop)

    @contextmanager
    def span(self, identifier: int) -> Iterator[None]:
        """The same for a block; slower than ``wrap``."""
        self.events.append(3 * identifier + ENTER)
        code = FAILED
        try:
            yield
            code = EXIT
        finally:
            self.events.append(3 * identifier + code)

    def spill(self) -> None:
        """Move this thread's events to disk if all that is held exceeds the bound; call it between predictions.

        Where the disk is full they stay in memory and a note says so: nothing is lost.
        """
        if self._spill is None or self._held() < self._spill_bytes:
            return
        buffer = self.events.here()
        if self._put_away(_part(buffer)):
            buffer.clear()

    def add(self, part: Part) -> None:
        """Take spans that something else recorded; call it between predictions."""
        if not len(part.events):
            return
        if self._spill is None or self._held() < self._spill_bytes or not self._put_away(part):
            self._added.append(part)
            self._added_bytes += part.events.nbytes + part.keys.nbytes

    @property
    def spilled(self) -> int:
        """How many parts went to disk."""
        return len(self._spilled)

    def parts(self) -> Iterator[Part]:
        """What was recorded, each thread's in its order; call it when nothing is recorded any more."""
        for thread, path in self._spilled:
            with np.load(path) as arrays:
                yield Part(thread, arrays["events"], arrays["keys"])
        yield from self._added
        yield from (_part(buffer) for buffer in self.events.buffers() if len(buffer))

    def take(self) -> list[Part]:
        """The same, forgetting it: for who looks after each prediction. Nothing may be recorded meanwhile."""
        taken = list(self.parts())
        for buffer in self.events.buffers():
            buffer.clear()
        self._spilled.clear()
        self._added.clear()
        self._added_bytes = 0
        return taken

    def _held(self) -> int:
        """Bytes in memory."""
        return self._added_bytes + EVENT_BYTES * sum(map(len, self.events.buffers()))

    def _put_away(self, part: Part) -> bool:
        assert self._spill is not None
        path = self._spill / f"events-{len(self._spilled)}-{part.thread}.npz"
        try:
            with path.open("wb") as file:
                np.savez(file, events=part.events, keys=part.keys)
        except OSError as error:
            path.unlink(missing_ok=True)
            self.notes.append(
                f"the trace outgrew its share of memory and stayed there, since {self._spill} can't be written: "
                f"{error.strerror or error}"
            )
            self._spill = None
            return False
        self._spilled.append((part.thread, path))
        return True


def _part(buffer: Buffer) -> Part:
    rows = np.frombuffer(buffer.read(), dtype=np.int64).reshape(-1, 2)
    return Part(buffer.thread, rows, np.arange(buffer.key, buffer.key + len(rows)))


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans matched from events; arrays of shape (spans,), in order of entry.

    ``parent`` is a position in these arrays, -1 for a root. ``occurrence`` counts the earlier spans of the same name
    below the same root. Times are ns of ``perf_counter_ns``. ``entry`` is the position of the event that entered.
    """

    entry: npt.NDArray[np.int64]
    identifier: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    parent: npt.NDArray[np.int64]
    root: npt.NDArray[np.int64]
    occurrence: npt.NDArray[np.int64]
    failed: npt.NDArray[np.bool_]


def match(events: npt.NDArray[np.int64]) -> Spans:
    """Match entries with exits. Spans still open at the end are left out.

    At each depth entries and exits alternate, so the n-th entry there belongs to the n-th exit; and the parent is the
    last entry one depth up.
    """
    kind = events[:, 0] % 3
    entering = kind == ENTER
    depth = np.cumsum(np.where(entering, 1, -1))
    entries = np.flatnonzero(entering)
    entry_depth = depth[entries]
    exits = np.flatnonzero(~entering)
    exit_depth = depth[exits] + 1

    end = np.full(len(entries), -1, dtype=np.int64)
    failed = np.zeros(len(entries), dtype=bool)
    parent = np.full(len(entries), -1, dtype=np.int64)
    above = np.empty(0, dtype=np.int64)
    for level in range(1, int(entry_depth.max(initial=0)) + 1):
        here = np.flatnonzero(entry_depth == level)
        leaving = exits[exit_depth == level]
        closed = here[: len(leaving)]
        end[closed] = events[leaving, 1]
        failed[closed] = kind[leaving] == FAILED
        if len(above):
            parent[here] = above[np.searchsorted(entries[above], entries[here]) - 1]
        above = here

    root = np.arange(len(entries))
    for level in range(2, int(entry_depth.max(initial=0)) + 1):
        here = np.flatnonzero(entry_depth == level)
        root[here] = root[parent[here]]
    identifier = events[entries, 0] // 3
    whole = end >= 0
    place = np.cumsum(whole) - 1
    kept_parent = parent[whole]
    kept_root = root[whole]
    # What lies below a span that never ended has no parent or root to point to.
    orphan = (kept_parent >= 0) & ~whole[kept_parent]
    kept_parent = np.where((kept_parent >= 0) & ~orphan, place[kept_parent], -1)
    return Spans(
        entry=entries[whole],
        identifier=identifier[whole],
        start=events[entries, 1][whole],
        end=end[whole],
        parent=kept_parent,
        root=np.where(whole[kept_root], place[kept_root], -1),
        occurrence=_occurrences(identifier[whole], kept_root),
        failed=failed[whole],
    )


def _occurrences(identifier: npt.NDArray[np.int64], root: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    order = np.lexsort((np.arange(len(identifier)), identifier, root))
    same = np.ones(len(order), dtype=bool)
    if len(order) > 1:
        ordered = np.stack([root[order], identifier[order]])
        same[1:] = (ordered[:, 1:] == ordered[:, :-1]).all(axis=0)
    if len(order):
        same[0] = False
    position = np.arange(len(order))
    first = np.maximum.accumulate(np.where(same, 0, position))
    counts = np.empty(len(order), dtype=np.int64)
    counts[order] = position - first
    return counts
