"""Environments are really built here, from the package index that pip is set to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.program import CHECKOUT
from mlms.environments import build as building
from mlms.environments import store
from mlms.environments.environment import LOCK, Environment, read
from mlms.environments.interpreters import find_python, running_version
from mlms.errors import InputError, StorageError, UnknownNameError
from mlms.manifests.types import EnvironmentSpec
from mlms.progress import Silent

SPEC = EnvironmentSpec("venv", None, ("packaging>=23", "numpy"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLMS_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)


def output(*command: str | Path) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("tool", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_an_environment_is_built_locked_and_shared_by_equal_specs(
    tool: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    if tool == "pip":
        monkeypatch.setattr(building, "uv_program", lambda: None)
    elif building.uv_program() is None:
        pytest.skip("uv is not installed")
    made = store.provide(SPEC, "first", Silent())
    assert (made.name[:6], made.python, made.built_with) == ("first-", running_version(), tool)
    assert {"packaging", "numpy"} <= made.packages.keys()
    program = "import numpy, packaging, sys; print(numpy.__version__, sys.prefix)"
    assert output(made.interpreter, "-I", "-c", program) == f"{made.packages['numpy']} {made.folder}"
    lock = (made.folder / LOCK).read_text()
    assert f"numpy=={made.packages['numpy']}" in lock
    assert "--hash=sha256:" in lock
    again = store.provide(EnvironmentSpec("venv", running_version(), ("numpy", "Packaging >= 23")), "other", Silent())
    assert again == made
    assert [path.name for path in (cache / "environments").iterdir() if not path.name.endswith(".lock")] == [
        made.digest[:16]
    ]
    assert store.all_environments() == [made]
    assert store.size_of(made) > 1e6


@pytest.mark.parametrize("tool", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_requirements_that_cannot_be_met_name_framework_and_mend(
    tool: str, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    if tool == "pip":
        monkeypatch.setattr(building, "uv_program", lambda: None)
    elif building.uv_program() is None:
        pytest.skip("uv is not installed")
    with pytest.raises(InputError, match="environment of framework 'odd' can't be built") as caught:
        store.provide(EnvironmentSpec("venv", None, ("numpy<0.1",)), "odd", Silent())
    assert "numpy" in caught.value.message
    assert "numpy<0.1" in str(caught.value.hint)
    assert store.all_environments() == []
    assert all(path.name.endswith(".lock") for path in (cache / "environments").iterdir()), "nothing half is left"


def test_what_an_interrupted_build_left_is_in_nobodys_way(cache: Path) -> None:
    place = cache / "environments" / store.digest_of(SPEC)[:16]
    (place.with_name(f".{place.name}.building") / "bin").mkdir(parents=True)
    (place / "bin").mkdir(parents=True)  # without its facts it is none
    assert store.all_environments() == []
    made = store.provide(SPEC, "first", Silent())
    assert made.interpreter.exists()


def test_a_lock_whose_hash_is_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed is what was locked: here the lock is changed in between."""
    if building.uv_program() is None:
        pytest.skip("uv is not installed")
    run = building._Steps.__call__

    def tampering(self: building._Steps, command: list[str], given: str = "") -> None:
        if "sync" in command:
            lock = Path(command[-1])
            pins = [line.split()[0] for line in lock.read_text().splitlines() if "==" in line]
            lock.write_text("".join(f"{pin} --hash=sha256:{'0' * 64}\n" for pin in pins))
        run(self, command, given)

    monkeypatch.setattr(building._Steps, "__call__", tampering)
    with pytest.raises(InputError, match=r"(?s)can't be built.*[Hh]ash"):
        store.provide(SPEC, "first", Silent())


def test_two_processes_that_build_at_once_make_one(cache: Path) -> None:
    program = (
        "from mlms.environments.store import provide; from mlms.manifests.types import EnvironmentSpec;"
        "from mlms.progress import Silent;"
        "print(provide(EnvironmentSpec('venv', None, ('packaging>=23', 'numpy')), 'first', Silent()).created)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert told[0] == told[1]
    assert len(store.all_environments()) == 1


def test_a_python_that_is_not_there() -> None:
    with pytest.raises(
        InputError, match=r"framework 'old' runs in Python 3\.99, which is not on this machine"
    ) as caught:
        store.provide(EnvironmentSpec("venv", "3.99", ("numpy",)), "old", Silent())
    assert "pyenv" in str(caught.value.hint)


def test_the_running_python_is_found() -> None:
    found = find_python(running_version())
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    assert output(found, "-I", "-c", program) == running_version()


def test_environments_are_removed_by_name_or_framework() -> None:
    made = store.provide(SPEC, "first", Silent())
    with pytest.raises(UnknownNameError, match="no environment is named 'frist'") as caught:
        store.remove("frist")
    assert caught.value.hint
    assert store.remove(made.name) == [made]
    assert not made.folder.exists()
    again = store.provide(SPEC, "first", Silent())
    assert store.remove("first") == [again]
    assert store.all_environments() == []


def environment(cache: Path, name: str) -> Environment:
    """One of which only the description is there."""
    place = cache / "environments" / name
    place.mkdir(parents=True)
    Environment(name, "d" * 64, place, "3.11", ("numpy",), {"numpy": "2.0"}, "e" * 64, "uv", "2026-01-01").write()
    return read(place)


@pytest.mark.parametrize(
    "facts",
    ["", "{", "{}", "[]", "null", "[" * 100_000, '{"requirements": 1}', '{"requirements": [1], "name": 1}', "numbers"],
)
def test_a_damaged_description_is_that_of_none(cache: Path, facts: str) -> None:
    good, damaged = environment(cache, "good-1"), environment(cache, "bad-1")
    if facts == "numbers":
        facts = json.dumps(json.loads((good.folder / "environment.json").read_text()) | {"name": 1})
    (damaged.folder / "environment.json").write_text(facts)
    assert store.all_environments() == [good]


def test_what_a_killed_removal_has_left_is_in_nobodys_way(cache: Path) -> None:
    made = environment(cache, "first-1")
    (made.folder.with_name(".first-1.leaving") / "bin").mkdir(parents=True)
    assert store.remove("first") == [made]
    assert [path.name for path in made.folder.parent.iterdir()] == [".first-1.lock"]


def test_an_environment_that_cannot_be_removed(cache: Path) -> None:
    made = environment(cache, "first-1")
    made.folder.with_name(".first-1.lock").mkdir()
    with pytest.raises(StorageError, match="can't remove environment 'first-1': Is a directory"):
        store.remove("first-1")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLMS_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="can't keep the environment of framework 'first'") as caught:
        store.provide(SPEC, "first", Silent())
    assert "MLMS_CACHE" in str(caught.value.hint)
