"""The worker process of a served framework, seen from the process that uses it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlms.errors import InputError, ModelError, OutOfMemoryError, PluginError, ProcessError
from mlms.serving.worker import wire as untyped_wire

if TYPE_CHECKING:
    from mlms.environments.environment import Environment
    from mlms.serving.contract import Arrays

wire: Any = untyped_wire
WORKER = Path(__file__).parent / "worker"
LAST_WORDS = 2000
"""Bytes of what a worker printed last that a message about its death shows."""
GRACE_S = 5.0


class Worker:
    """A process that hosts one model of a serving module in ``environment``.

    ``asked`` from several threads at once, it answers each over a connection of the thread's own.
    """

    def __init__(self, framework: str, module: Path, environment: Environment, answer_timeout: float) -> None:
        """Start it. ``framework`` is for messages, ``module`` a file or a package's folder.

        Raises:
            PluginError: the module can't be imported there.
            ProcessError: the process died, or gave no answer.
        """
        self._about = f"the worker of framework '{framework}' (environment {environment.name})"
        self._timeout = answer_timeout
        self._folder = Path(tempfile.mkdtemp(prefix="mlms-"))  # not below the caller's: a socket's path is short
        self._path = str(self._folder / "worker")
        self._here = threading.local()
        self._channels: list[Any] = []
        self._numbers = itertools.count()
        memory = Path("/dev/shm")
        self._shared = Path(tempfile.mkdtemp(prefix="mlms-", dir=memory if memory.is_dir() else None))
        self._doing = "starting"
        scratch = self._folder / "tmp"  # of its own, since a worker that is ended leaves its temporary files behind
        scratch.mkdir()
        try:
            with (self._folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    [str(environment.interpreter), "-I", str(WORKER), self._path, str(module), str(self._shared)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=os.environ | {"TMPDIR": str(scratch)},
                )
        except OSError as error:
            self._remove_folders()
            raise ProcessError(
                f"{self._about} can't be started: {error.strerror or error}",
                hint="make the environment anew with 'mlms env remove' and 'mlms env create'",
            ) from error
        try:
            self.hello: Mapping[str, Any] = self.ask("hello")["value"]
        except ModelError as error:
            self.close()
            if isinstance(error, ProcessError):
                raise
            raise PluginError(
                f"{self._about} can't import its serving module: {error.message.partition(': ')[2]}",
                hint="check the framework asset's requirements, or make the environment anew with 'mlms env create'",
            ) from error
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, arrays: Arrays | None = None, **header: Any) -> Mapping[str, Any]:
        """Its reply, with the arrays in it under ``outputs``.

        Raises:
            InputError: what it was asked is the user's to mend.
            OutOfMemoryError, ModelError: the model or its runtime failed.
            ProcessError: it died or hung; it is gone then.
        """
        self._doing = do.replace("_", " ")
        try:
            channel = self._channel()
            channel.send({"do": do, **header}, arrays or {})
            reply, outputs = channel.receive()
        except (TimeoutError, BlockingIOError):
            self.kill()
            raise ProcessError(
                f"{self._about} gave no answer to '{self._doing}' within {self._timeout:g} s and was killed",
                hint="raise the environment's answer_timeout in the framework asset, or look into why it hangs",
            ) from None
        except (EOFError, OSError) as error:
            raise self._death(error) from None
        except BaseException:
            self._hang_up()  # what is left of the answer is none to the next question
            raise
        if "error" in reply:
            raise self._failure(reply["error"])
        return {**reply, "outputs": outputs}

    def close(self) -> None:
        """End it; may be called twice."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        if self._process.stdin is not None:
            self._process.stdin.close()  # which it ends with
            self._process.stdin = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
            self.kill()
        self._remove_folders()

    def kill(self) -> None:
        """Kill it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _remove_folders(self) -> None:
        for folder in (self._folder, self._shared):
            shutil.rmtree(folder, ignore_errors=True)

    def _hang_up(self) -> None:
        """End this thread's connection; its next question has another."""
        found = getattr(self._here, "channel", None)
        if found is not None:
            self._here.channel = None
            self._channels.remove(found)
            found.close()

    def _channel(self) -> Any:
        """This thread's."""
        found = getattr(self._here, "channel", None)
        if found is None:
            number = next(self._numbers)  # threads come here at once, and share memory with none but the worker
            found = self._here.channel = wire.Channel(
                self._connected(), str(self._shared / f"{number}"), wire.WATCHED_FOR_ANSWER_S
            )
            self._channels.append(found)
        return found

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.connect(self._path)
                break
            except (FileNotFoundError, ConnectionRefusedError):  # it isn't listening yet
                if self._process.poll() is not None:
                    raise
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(0.005)
        # The system's own time limit: Python's would ask whether there is something to read before each reading.
        seconds, rest = divmod(self._timeout, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(rest * 1e6)))
        return connection

    def _death(self, error: Exception) -> ProcessError:
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return ProcessError(f"{self._about} hung up while it was to {self._doing}: {error}")
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        words = self._last_words()
        return ProcessError(
            f"{self._about} {how} while it was to {self._doing}",
            hint=f"it printed last:\n{words}" if words else "the next evaluation starts a fresh one",
        )

    def _last_words(self) -> str:
        try:
            text = (self._folder / "log").read_bytes()[-LAST_WORDS:].decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-15:])

    def _failure(self, error: Mapping[str, Any]) -> Exception:
        if "MemoryError" in error["kinds"]:
            return OutOfMemoryError(f"{self._about} ran out of memory: {error['message']}")
        if "ValueError" in error["kinds"]:
            return InputError(error["message"], hint=error["hint"])
        failure = ModelError(f"{self._about} failed to {self._doing}: {error['type']}: {error['message']}")
        failure.__cause__ = RuntimeError(error["traceback"])
        return failure
