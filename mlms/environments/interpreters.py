"""Pythons of other versions on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mlms.errors import InputError

ASK_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"
TIMEOUT_S = 30.0


def uv_program() -> str | None:
    """uv, on the PATH or beside the Python that runs mlms."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("uv") or shutil.which("uv", path=beside)


def running_version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def find_python(version: str) -> Path:
    """A Python of ``version`` ("3.9"): the one that runs mlms, on the PATH, pyenv's, or uv's.

    Raises:
        InputError: there is none.
    """
    for candidate in _candidates(version):
        if _version(candidate) == version:
            return candidate
    raise InputError(
        f"Python {version} is not on this machine",
        hint=f"uv python install {version}, pyenv install {version}, or put python{version} on the PATH",
    )


def _candidates(version: str) -> Iterator[Path]:
    if version == running_version():
        yield Path(getattr(sys, "_base_executable", sys.executable))
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((pyenv / "versions").glob(f"{version}.*/bin/python"), reverse=True)
    if uv := uv_program():
        command = [uv, "python", "find", "--no-python-downloads", "--no-project", "--system", version]
        found = _output(command)
        if found:
            yield Path(found)


def _version(python: Path) -> str | None:
    return _output([str(python), "-I", "-c", ASK_VERSION])


def _output(command: list[str]) -> str | None:
    """What a command prints; None when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
