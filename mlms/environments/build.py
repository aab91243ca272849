"""Making one virtual environment: requirements locked with hashes, then installed from the lock."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from mlms.environments.environment import LOCK, Environment
from mlms.environments.interpreters import find_python, running_version, uv_program
from mlms.errors import InputError
from mlms.manifests.types import EnvironmentSpec

ALWAYS = "numpy"
"""What a worker itself takes."""
SHOWN_LINES = 12


def build(spec: EnvironmentSpec, framework: str, name: str, digest: str, folder: Path) -> None:
    """Make the environment in ``folder``, which is renamed afterwards: nothing in it is to hold its path.

    Raises:
        InputError: there is no such Python, or the requirements can't be met; it names the framework.
    """
    version = spec.python or running_version()
    try:
        python = find_python(version)
    except InputError as error:
        error.message = f"framework '{framework}' runs in Python {version}, which is not on this machine"
        raise
    uv = uv_program()
    step = _Steps(f"the environment of framework '{framework}'", spec)
    requirements = [*spec.requirements, ALWAYS]
    if uv is not None:
        step([uv, "venv", "--quiet", "--no-project", "--python", str(python), str(folder)])
        lock = folder / LOCK
        interpreter = str(folder / "bin" / "python")
        compiling = [uv, "pip", "compile", "--quiet", "--no-header", "--generate-hashes", "--python", interpreter]
        step([*compiling, "--output-file", str(lock), "-"], "\n".join(requirements))
        step([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", interpreter, str(lock)])
    else:
        _with_pip(step, python, requirements, folder)
    Environment(
        name=name,
        digest=digest,
        folder=folder,
        python=version,
        requirements=spec.requirements,
        packages=_packages(folder),
        lock_sha256=hashlib.sha256((folder / LOCK).read_bytes()).hexdigest(),
        built_with="uv" if uv is not None else "pip",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    ).write()


class _Steps:
    """Runs the commands of a build."""

    def __init__(self, what: str, spec: EnvironmentSpec) -> None:
        self._what, self._spec = what, spec

    def __call__(self, command: Sequence[str], given: str = "") -> None:
        # PYTHONPATH and the like belong to the environment that mlms runs in.
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=variables, check=False)
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()[-SHOWN_LINES:]
            words = "\n".join(lines).removeprefix("error: ")
            raise InputError(
                f"{self._what} can't be built. {Path(command[0]).name} said:\n{words}",
                hint=f"check its requirements ({', '.join(self._spec.requirements)}) and the package index that pip "
                "and uv are set to",
            )


def _with_pip(step: _Steps, python: Path, requirements: Sequence[str], folder: Path) -> None:
    """The same with the venv and pip that the Python brings: download, hash, install what was hashed."""
    step([str(python), "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    downloads = folder / "downloads"
    step([*pip, "download", "--quiet", "--dest", str(downloads), *requirements])
    lock = folder / LOCK
    lines = []
    for file in sorted(downloads.iterdir()):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        lines.append(f"{_requirement(file.name)} --hash=sha256:{digest}")
    lock.write_text("\n".join(lines) + "\n", "utf-8")
    offline = ["--no-index", "--find-links", str(downloads), "--no-deps", "--require-hashes"]
    step([*pip, "install", "--quiet", *offline, "--requirement", str(lock)])
    shutil.rmtree(downloads)


def _requirement(file: str) -> str:
    """``name==version`` of a wheel or source archive, by its file name."""
    from packaging.utils import parse_sdist_filename, parse_wheel_filename

    name, version = parse_wheel_filename(file)[:2] if file.endswith(".whl") else parse_sdist_filename(file)
    return f"{name}=={version}"


def _packages(folder: Path) -> dict[str, str]:
    """Installed versions by distribution."""
    places = [str(place) for place in (folder / "lib").glob("python*/site-packages")]
    found = importlib.metadata.distributions(path=places)
    return dict(sorted((each.metadata["Name"].lower(), each.version) for each in found))
