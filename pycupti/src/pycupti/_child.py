"""What is done in a process of its own, because libcupti may take the process with it.

`python -m pycupti._child TASK [ARGUMENT as JSON]` prints one JSON line a finished step, so that a crash shows how far
it came.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT_S = 120


class Outcome(NamedTuple):
    """The steps that finished, the exit status (negative: the signal that ended it) and what it wrote on stderr."""

    steps: dict[str, Any]
    status: int
    stderr: str


def run(task: str, argument: Any = None) -> Outcome:
    """Run a task in a fresh interpreter and gather its steps."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "pycupti._child", task, json.dumps(argument)]
    try:
        # From the package's own folder, because `-m` puts the working folder first on the path.
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=root,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired as expired:
        return Outcome(_steps(expired.stdout or b""), 124, f"no answer within {TIMEOUT_S} s")
    return Outcome(_steps(done.stdout), done.returncode, done.stderr.strip())


def _steps(stdout: str | bytes) -> dict[str, Any]:
    text = stdout.decode() if isinstance(stdout, bytes) else stdout
    steps: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("{"):
            steps.update(json.loads(line))
    return steps


def _say(step: str, value: Any) -> None:
    print(json.dumps({step: value}), flush=True)


def main(task: str, argument: Any) -> None:
    """Do one task."""
    from pycupti import host, probing

    if task == "probe":
        for step, value in probing.steps(**argument):
            _say(step, value)
    else:
        _say("answer", host.TASKS[task](**argument))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
