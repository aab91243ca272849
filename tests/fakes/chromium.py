"""A headless Chromium, driven through its DevTools protocol over two pipes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


class Page:
    """A page that evaluates expressions; what the DevTools protocol names events is passed over."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._sent = 0
        self._session: str | None = None
        self._rest = b""

    def open(self, url: str) -> None:
        target = self.call("Target.createTarget", url=url)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; a promise's, when it is kept."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float) -> Any:
        """The value of an expression as soon as it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.25)
        raise TimeoutError(f"not true within {seconds} s: {expression}")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        message: dict[str, Any] = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._sent:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._answers, 1 << 16)
            if not data:
                raise RuntimeError("Chromium has gone")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium(profile: Path, seconds: float = 240) -> Iterator[Page]:
    """A page of a fresh Chromium, which is ended after ``seconds`` at the latest; skips where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium")
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()

    def place() -> None:
        # Away from 3 and 4 first, so that neither is overwritten before it is copied.
        first, second = os.dup2(command_read, 100), os.dup2(answer_write, 101)
        os.dup2(first, 3)
        os.dup2(second, 4)

    flags = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage --remote-debugging-pipe"
    process = subprocess.Popen(
        [program, *flags.split(), f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=False,
        preexec_fn=place,
        start_new_session=True,
    )
    os.close(command_read)
    os.close(answer_write)
    end = threading.Timer(seconds, process.kill)
    end.start()
    try:
        yield Page(command_write, answer_read)
    finally:
        end.cancel()
        os.killpg(process.pid, 9)
        process.wait(30)
        os.close(command_write)
        os.close(answer_read)
