"""The other end of ``isolation``: a fresh process that does one piece of work and reports to its parent."""

from __future__ import annotations

import faulthandler
import itertools
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from mlms.progress import Advance

if TYPE_CHECKING:
    from mlms.executor.session import Session
    from mlms.progress import Progress

REPORT_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """What the parent sends: how to make a session here, and what to do in it."""

    reopen: Callable[[Progress], Session]
    work: Callable[[Session], Any]


@dataclass(frozen=True, slots=True)
class TaskStarted:
    number: int
    description: str
    total: int | None
    unit: str


@dataclass(frozen=True, slots=True)
class TaskAdvanced:
    number: int
    amount: int


@dataclass(frozen=True, slots=True)
class TaskEnded:
    number: int


@dataclass(frozen=True, slots=True)
class Warned:
    message: str


@dataclass(frozen=True, slots=True)
class Returned:
    result: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: Exception
    traceback: str


def main(descriptor: int) -> None:
    """Do the job that comes through the socket ``descriptor``."""
    faulthandler.enable()
    connection = Connection(descriptor)
    job: Job = connection.recv()
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    report = Report(connection)
    try:
        report.send(Returned(job.work(job.reopen(report))))
    except Exception as error:
        report.send(Raised(portable(error), traceback.format_exc()))


def portable(error: Exception) -> Exception:
    """The error, or one that says the same where it would not survive the way to the parent."""
    with suppress(Exception):
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")


class Report:
    """Progress that is shown in the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def send(self, message: object) -> None:
        with self._lock:
            self._connection.send(message)

    @contextmanager
    def task(self, description: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        number = next(self._numbers)
        self.send(TaskStarted(number, description, total, unit))
        waiting, sent_at = 0, time.monotonic()

        def advance(amount: int) -> None:
            nonlocal waiting, sent_at
            waiting += amount
            if time.monotonic() - sent_at >= REPORT_INTERVAL_S:
                self.send(TaskAdvanced(number, waiting))
                waiting, sent_at = 0, time.monotonic()

        try:
            yield advance
        finally:
            self.send(TaskAdvanced(number, waiting))
            self.send(TaskEnded(number))

    def warn(self, message: str) -> None:
        self.send(Warned(message))


def _end_with_parent(connection: Connection) -> None:
    """Nothing more comes from the parent, so this waits, without waking, for its end."""
    with suppress(EOFError, OSError):
        connection.recv_bytes()
    os.killpg(0, signal.SIGKILL)
