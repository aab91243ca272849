from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlms.cli import console
from mlms.progress import Silent

BAR = """
from mlms.cli.console import TerminalProgress
progress = TerminalProgress()
with progress.task("counting [sheep]", total=3, unit="sheep") as advance:
    for _ in range(3):
        advance(1)
with progress.task("fetching", total=2048, unit="bytes") as advance:
    advance(2048)
with progress.task("waiting") as advance:
    advance(1)
progress.warn("[not markup] wolf")
"""


def test_quiet_is_silent() -> None:
    assert isinstance(console.progress(quiet=True), Silent)
    assert isinstance(console.progress(quiet=False), console.TerminalProgress)


def test_a_pipe_gets_warnings_and_no_bars() -> None:
    done = subprocess.run([sys.executable, "-c", BAR], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == "warning: [not markup] wolf\n"


def test_a_pipe_gets_a_line_for_each_finished_task_that_took_long() -> None:
    impatient = "from mlms.cli import console\nconsole.WORTH_A_LINE_S = 0.0\n"
    done = subprocess.run([sys.executable, "-c", impatient + BAR], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[:3] == ["counting [sheep]: 3 sheep, 0 s", "fetching: 0 s", "waiting: 1 items, 0 s"]


def test_a_terminal_gets_bars() -> None:
    pty = pytest.importorskip("pty", reason="a terminal needs a POSIX system")
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-c", BAR], stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        assert process.wait() == 0
    os.close(ours)
    text = shown.decode()
    assert "counting [sheep]" in text
    assert "sheep" in text
    assert "wolf" in text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says so where the other end is closed
        return b""
