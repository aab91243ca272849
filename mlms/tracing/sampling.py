"""Figures sampled by a process of its own, so that the process that measures does nothing for it."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlms.tracing.sampler import Series, Source

if TYPE_CHECKING:
    from mlms.tracing.observations import Counter
    from mlms.tracing.recorder import Recorder

__all__ = ["INTERVAL_S", "Series", "Source", "sampled"]

INTERVAL_S = 0.1
START_S = 30.0
"""How long a source may take to be made; a driver that hangs must not hang the evaluation."""
END_S = 10.0


@contextmanager
def sampled(
    recorder: Recorder, name: str, source: str, arguments: Mapping[str, Any], interval_s: float = INTERVAL_S
) -> Iterator[None]:
    """Sample a source for as long as the context is open; its counters are in ``recorder`` when it has ended.

    ``source`` is "module:attribute", what makes a ``Source`` of the keywords ``arguments`` (plain data) in the sampling
    process. Its notes, and what goes wrong there, are added to ``recorder.notes``, "``name``: " before each.
    """
    path = [str(entry) for entry in sys.path]
    program = f"import sys; sys.path[:] = {path!r}; from mlms.tracing.sampler import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", program, source, json.dumps(dict(arguments)), str(round(interval_s * 1e9))]
    # Unbuffered, so that nothing of what follows the first line is taken with it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            series, notes = _started(process)
            recorder.notes += [f"{name}: {note}" for note in notes]
            yield
        except BaseException:
            process.kill()
            raise
        counters, notes = _ended(process, series)
    recorder.notes += [f"{name}: {note}" for note in notes]
    recorder.counters += counters


def _started(process: subprocess.Popen[bytes]) -> tuple[list[Series], list[str]]:
    """What the source has to sample, once it does, and what it has to say."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as waiting:  # select() refuses the files of a process that has a thousand open
        waiting.register(process.stdout, selectors.EVENT_READ)
        begun = waiting.select(START_S)
    if not begun:
        process.kill()
        return [], [f"off, since sampling did not begin within {START_S:g} s: is a driver hanging?"]
    line = process.stdout.readline()
    if not line:
        return [], [f"off, since the sampling process ended with exit code {process.wait()}"]
    told = json.loads(line)
    failed = [f"off, since its source can't be read: {told['error']}"] if told["error"] else []
    return [Series(**one) for one in told["series"]], [*told["notes"], *failed]


def _ended(process: subprocess.Popen[bytes], series: Sequence[Series]) -> tuple[list[Counter], list[str]]:
    """End the sampling process: its counters, and what went wrong."""
    try:
        data, _ = process.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return [], [f"no counters, since the sampling process did not end within {END_S:g} s"] if series else []
    if not series:
        return [], []
    line, _, samples = data.partition(b"\n")
    if not line:
        return [], [f"no counters, since the sampling process ended with exit code {process.returncode}"]
    told = json.loads(line)
    notes = [f"sampling ended early: {told['error']}"] if told["error"] else []
    return _counters(series, samples, told["samples"]), notes


def _counters(series: Sequence[Series], data: bytes, samples: int) -> list[Counter]:
    import numpy as np

    from mlms.tracing.clock import unix_ns
    from mlms.tracing.observations import Counter

    # The performance counter is the same clock in all processes of a machine.
    times = unix_ns(np.frombuffer(data, np.int64, samples))
    rows = np.frombuffer(data, np.float64, offset=8 * samples).reshape(samples, len(series))
    found = []
    for one, column in zip(series, rows.T, strict=True):
        there = ~np.isnan(column)
        values = column[there]
        if len(values):
            begun = values[0] if one.kind == "sum" else 0.0
            found.append(Counter(one.name, one.unit, one.kind, times[there], values - begun, one.attributes))
    return found
