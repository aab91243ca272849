"""Work in a fresh process, so that whatever becomes of it is one failure and disturbs nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TypeVar

from mlms.errors import MlmsError, OutOfMemoryError, ProcessError
from mlms.executor.child import Job, Raised, Returned, TaskAdvanced, TaskEnded, TaskStarted, Warned
from mlms.executor.session import Session
from mlms.progress import Advance, Progress

T = TypeVar("T")

GRACE_S = 10.0
"""How long a process may take to exit once its result is there."""


def in_fresh_process(work: Callable[[Session], T], session: Session, name: str, timeout: float | None = None) -> T:
    """Call ``work`` with this session, in a process of its own that ends with the call, and give what it returns.

    ``work`` is pickled. This process sleeps meanwhile, but for what the other reports. ``name`` is for messages,
    ``timeout`` in seconds.

    Raises:
        ProcessError: it crashed, was killed, or ran past its timeout.
        OutOfMemoryError: it was killed for want of memory.
        MlmsError: whatever ``work`` raised.
        RuntimeError: likewise, where that was a bug in mlms; with its traceback.
    """
    ours, theirs = Pipe()
    # The child finds modules, plugins among them, where this process does.
    path = [str(entry) for entry in sys.path]
    program = f"import sys; sys.path[:] = {path!r}; from mlms.executor.child import main; main({theirs.fileno()})"
    out_of_memory_before = _out_of_memory_kills()
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a model prints must not mix with results
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        display = _Display(session.progress)
        try:
            with display:
                deadline = None if timeout is None else time.monotonic() + timeout
                result = _listen(ours, Job(session.reopen, work), display, deadline)
        except TimeoutError:
            message = f"'{name}' did not end within its timeout of {timeout:g} s and was killed{display.doing}"
            raise ProcessError(message, hint="raise 'timeout', or look into why it hangs") from None
        except (EOFError, ConnectionError):
            code = _exit_code(process)
            if code == -signal.SIGKILL and _out_of_memory_kills() > out_of_memory_before:
                raise OutOfMemoryError(
                    f"the process of '{name}' was killed by the system for want of memory{display.doing}",
                    hint="lower batch_size or preprocessing.memory_mib, or give the machine more memory",
                ) from None
            raise ProcessError(f"the process of '{name}' {_end(code)}{display.doing}") from None
        finally:
            _end_group(process)
    if isinstance(result, Raised):
        if isinstance(result.error, MlmsError):
            raise result.error
        raise RuntimeError(f"in the process of '{name}':\n{result.traceback}")
    value: T = result.result
    return value


def _listen(connection: Connection, job: Job, display: _Display, deadline: float | None) -> Returned | Raised:
    """Send the job and wait for its end.

    Raises:
        TimeoutError: it didn't come in time.
        EOFError, ConnectionError: the process is gone.
    """
    connection.send(job)
    while True:
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not connection.poll(remaining):
            raise TimeoutError
        message = connection.recv()
        if isinstance(message, Returned | Raised):
            with suppress(EOFError, ConnectionError):  # until it has exited
                if connection.poll(GRACE_S):
                    connection.recv()
            return message
        display.show(message)


class _Display:
    """Shows what a child reports. ``doing`` is the words for what it was at last."""

    def __init__(self, progress: Progress) -> None:
        self.doing = ""
        self._progress = progress
        self._tasks: dict[int, tuple[ExitStack, Advance]] = {}

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *failure: object) -> None:
        for task, _ in reversed(self._tasks.values()):
            task.close()

    def show(self, message: TaskStarted | TaskAdvanced | TaskEnded | Warned) -> None:
        match message:
            case TaskStarted():
                task = ExitStack()
                shown = self._progress.task(message.description, message.total, message.unit)
                self._tasks[message.number] = task, task.enter_context(shown)
                self.doing = f", while {message.description}"
            case TaskAdvanced():
                self._tasks[message.number][1](message.amount)
            case TaskEnded():
                self._tasks.pop(message.number)[0].close()
                self.doing = f", after {self.doing.split(' ', 2)[2]}"
            case Warned():
                self._progress.warn(message.message)


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """Of a process that has hung up; one that doesn't exit, though it closed all its files, is killed."""
    try:
        return process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        _end_group(process)
        return process.wait()


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end(code: int) -> str:
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name} ({signal.strsignal(-code)})"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"exited with code {code} and without a result"


def _out_of_memory_kills() -> int:
    """Processes that the kernel killed for want of memory since it started; 0 where it doesn't tell."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
