"""``mlms plugin new``: what it writes installs, is clean, and passes its own tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from fakes.distributions import search_path
from fakes.program import CHECKOUT, mlms

KINDS = ("framework", "processor", "metric", "profiler", "dataset")


def run(command: Sequence[str | Path], folder: Path, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {} if site is None else {"PYTHONPATH": os.pathsep.join([search_path(site), str(CHECKOUT)])}
    environment = os.environ | variables
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def install(folder: Path, site: Path) -> None:
    """Build the package with its own build backend, which is there, and unpack it into ``site``."""
    if find_spec("hatchling") is None or find_spec("pip") is None:
        pytest.skip("the build backend isn't installed here")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site)]
    done = run([sys.executable, "-m", "pip", "install", *options, str(folder)], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_installs_and_passes_its_tests(kind: str, tmp_path: Path) -> None:
    ended = mlms("plugin", "new", f"my-{kind}", "--kind", kind, "--json")
    assert ended.code == 0, ended.err
    folder = Path(ended.data["folder"])
    assert folder == Path(f"mlms-my-{kind}")
    assert [path for path in ended.data["files"] if not (folder / path).is_file()] == []
    if ruff := shutil.which("ruff", path=str(Path(sys.executable).parent)):
        done = run([ruff, "check", "--isolated", "--no-cache", "."], folder)
        assert done.returncode == 0, done.stdout
    site = tmp_path / "site"
    install(folder.resolve(), site)
    done = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], folder, site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    listed = run([sys.executable, "-m", "mlms", "plugins", "--json"], tmp_path, site)
    (row,) = [row for row in json.loads(listed.stdout) if row["distribution"] == f"mlms-my-{kind}"]
    assert row["error"] is None
    assert row[f"{'reader' if kind == 'dataset' else kind}s"] == [f"my-{kind}"]


def test_the_next_steps_are_told() -> None:
    ended = mlms("plugin", "new", "my_runtime", "--kind", "framework", "--output", "plugins")
    assert ended.code == 0
    assert "plugins/mlms-my-runtime/mlms_my_runtime/serving.py" in ended.out.splitlines()
    assert "pip install -e 'plugins/mlms-my-runtime[test]' && pytest plugins/mlms-my-runtime" in ended.err


def test_nothing_is_overwritten() -> None:
    Path("mlms-mine").mkdir()
    ended = mlms("plugin", "new", "mine", "--kind", "metric")
    assert ended.code == 2
    assert "mlms-mine is there already" in ended.err
    assert list(Path("mlms-mine").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("My Runtime", "can't be a plugin's name"),
        ("../up", "can't be a plugin's name"),
        ("1st", "can't be a plugin's name"),
        ("mlms-mine", "begins with mlms"),
        ("softmax", "there is a processor 'softmax' already, from mlms"),
    ],
)
def test_bad_names_are_refused(name: str, reason: str) -> None:
    ended = mlms("plugin", "new", name, "--kind", "processor")
    assert ended.code == 2
    assert reason in ended.err
    assert "hint: " in ended.err
    assert list(Path().iterdir()) == []


def test_an_unknown_kind_is_refused() -> None:
    ended = mlms("plugin", "new", "mine", "--kind", "task")
    assert ended.code == 2
    assert "framework" in ended.err
