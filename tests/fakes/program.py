"""The mlms program as a user calls it: in this process, or in one of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlms.api import planning
from mlms.cli import main

TESTS = Path(__file__).parents[1]
CHECKOUT = TESTS.parent


@dataclass(frozen=True)
class Ended:
    """What a call left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


def mlms(*arguments: str | Path) -> Ended:
    """Call the program in this process, where the heavy packages are loaded already."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def command(*arguments: str | Path) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "mlms", *map(str, arguments)]


def mlms_process(*arguments: str | Path, timeout: float = 120, **variables: str) -> Ended:
    """Call the program in a process of its own, with these environment variables besides the present ones."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, env=os.environ | variables, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def forget_plugins() -> None:
    """Have the next call look for plugins again, as a new process does."""
    planning.load_plugins.cache_clear()
    planning.asset_folders.cache_clear()
