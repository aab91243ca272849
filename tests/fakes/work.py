"""Pieces of work for another process, which has to be able to import them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mlms.errors import InputError, Place
from mlms.executor.session import Session


class Unsayable(Exception):
    """Pickles, but doesn't come back."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def report(session: Session) -> tuple[int, Path]:
    """Show progress, warn, and say who and where this is."""
    with session.progress.task("counting", total=3, unit="numbers") as advance:
        for _ in range(3):
            advance(1)
    session.progress.warn("that was it")
    print("a word on standard output")
    return os.getpid(), session.output


def refuse(session: Session) -> None:
    raise InputError("too small", place=Place("numbers.yaml", 3, 4), hint="take a bigger one")


def blunder(session: Session) -> None:
    raise Unsayable(1, 2)


def die(session: Session) -> None:
    with session.progress.task("dying"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


def linger(session: Session) -> int:
    """Leave a process behind; gives its number."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


def sleep(session: Session) -> None:
    with session.progress.task("sleeping"):
        time.sleep(600)
