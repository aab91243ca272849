"""oneDNN's primitives on the CPU, as its verbose mode tells of them; imports torch.

oneDNN prints a line to standard output for each primitive that it has executed: when it began (Unix time), what it was,
and how long it took. While somebody looks, standard output goes to a file; what others print there meanwhile is handed
on afterwards. The lines don't say which thread they come from, so a primitive belongs to the innermost operator that
was running in the middle of it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

import torch

_MARK = "onednn_verbose,"
_STDOUT = 1


@dataclass(frozen=True, slots=True)
class Primitive:
    """One execution; Unix ns."""

    start: int
    end: int
    name: str
    attributes: Mapping[str, Any]


class Verbose:
    """oneDNN's verbose output, as it comes in."""

    def __init__(self, file: IO[bytes], stdout: int) -> None:
        self._file = file
        self._stdout = stdout

    def take(self) -> list[Primitive]:
        """What was executed since the last call. Call it when no prediction runs."""
        sys.stdout.flush()
        ctypes.CDLL(None).fflush(None)
        self._file.seek(0)
        lines = self._file.read().splitlines(keepends=True)
        self._file.seek(0)
        self._file.truncate()
        primitives = []
        for line in lines:
            text = line.decode("utf-8", "replace")
            if not text.startswith(_MARK):
                os.write(self._stdout, line)
            elif (primitive := parsed(text)) is not None:
                primitives.append(primitive)
        return primitives


@contextmanager
def verbose() -> Iterator[Verbose]:
    """Have oneDNN tell of every primitive, with time stamps, for as long as the context is open."""
    os.environ.setdefault("ONEDNN_VERBOSE_TIMESTAMP", "1")  # read once, when verbose mode is first switched on
    backend: Any = torch.backends.mkldnn  # its classes carry no types
    sys.stdout.flush()
    stdout = os.dup(_STDOUT)
    with TemporaryFile() as file:
        os.dup2(file.fileno(), _STDOUT)
        told = Verbose(file, stdout)
        try:
            with backend.verbose(backend.VERBOSE_ON):
                yield told
            told.take()
        finally:
            os.dup2(stdout, _STDOUT)
            os.close(stdout)


def parsed(line: str) -> Primitive | None:
    """The primitive that a line tells of; None for a line about something else, or without a time stamp.

    ``onednn_verbose,v1,TIMESTAMP,primitive,exec,ENGINE,PRIMITIVE,IMPLEMENTATION,PROPAGATION,DATA,ATTRIBUTES,AUXILIARY,
    PROBLEM,TIME`` (oneDNN's documentation, "Verbose Mode"; times in ms). Versions before 3.1 leave out ``v1`` and
    ``primitive``.
    """
    fields = line.strip().split(",")
    if "exec" not in fields:
        return None
    at = fields.index("exec")
    stamps = [field for field in fields[1:at] if field[:1].isdigit()]
    told = fields[at + 1 :]
    if not stamps or len(told) < 9:
        return None
    _, primitive, implementation, propagation, data, *_, auxiliary, problem, took = told
    try:
        start = round(float(stamps[0]) * 1e6)
        end = start + round(float(took) * 1e6)
    except ValueError:
        return None
    attributes = {
        "mlms.library.name": "oneDNN",
        "mlms.library.primitive": primitive,
        "mlms.library.implementation": implementation,
        "mlms.library.propagation": propagation,
        "mlms.library.data": data,
        "mlms.library.algorithm": auxiliary.removeprefix("alg:") or None,
        "mlms.library.problem": problem,
    }
    return Primitive(start, end, f"oneDNN {primitive}", {key: value for key, value in attributes.items() if value})


class Operators:
    """The operators of one thread, nested: start and end in Unix ns, as Kineto has them, in order of their starts."""

    def __init__(self, start: Sequence[int], end: Sequence[int]) -> None:
        order = sorted(range(len(start)), key=lambda place: (start[place], -end[place]))
        self._start = [start[place] for place in order]
        self._end = [end[place] for place in order]
        self._above: list[int] = []
        self._within: dict[int, list[int]] = {}
        self._filled: dict[int, int] = {}
        open_: list[int] = []
        for place, begins in enumerate(self._start):
            while open_ and self._end[open_[-1]] <= begins:
                open_.pop()
            above = open_[-1] if open_ else -1
            self._above.append(above)
            self._within.setdefault(above, []).append(place)
            open_.append(place)

    def innermost(self, moment: int) -> int | None:
        """The innermost operator that was running."""
        place = bisect_right(self._start, moment) - 1
        while place >= 0 and self._end[place] < moment:
            place = self._above[place]
        return place if place >= 0 else None

    def length(self, place: int) -> int:
        return self._end[place] - self._start[place]

    def fit(self, place: int, primitive: Primitive) -> tuple[int, int]:
        """The primitive's start and end, within the operator and beside what else runs in it.

        The two clocks differ by some µs, and a primitive that stuck out would nest wrongly.
        """
        middle = (primitive.start + primitive.end) // 2
        begin = max(primitive.start, self._start[place], self._filled.get(place, 0))
        finish = min(primitive.end, self._end[place])
        inner = self._within.get(place, [])
        after = bisect_right(inner, middle, key=self._start.__getitem__)
        if after:
            begin = max(begin, self._end[inner[after - 1]])
        if after < len(inner):
            finish = min(finish, self._start[inner[after]])
        finish = max(begin, finish)
        self._filled[place] = finish
        return begin, finish


def located(primitives: Sequence[Primitive], threads: Mapping[int, Operators]) -> Iterator[tuple[int, int, int, int]]:
    """For each primitive that ran in an operator: its position, the thread, its start and end (Unix ns).

    Where operators of several threads were running, it is the shortest's.
    """
    for position, primitive in enumerate(primitives):
        middle = (primitive.start + primitive.end) // 2
        running = [
            (operators.length(place), thread, place)
            for thread, operators in threads.items()
            if (place := operators.innermost(middle)) is not None
        ]
        if running:
            _, thread, place = min(running)
            yield position, thread, *threads[thread].fit(place, primitive)
