"""mlms from a wheel, in a directory that holds nothing but a manifest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from fakes.manifests import manifest
from fakes.program import CHECKOUT
from mlms.tracing.events import built

pytestmark = pytest.mark.slow
PACKED = ("mlms", "assets", "pycupti", "pyproject.toml", "README.md", "LICENSE", "hatch_build.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since building leaves files beside the sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKED:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        elif (CHECKOUT / name).is_file():
            shutil.copy(CHECKOUT / name, source)
    builder = Path(sys.executable)
    if find_spec("pip") is None:  # uv makes environments without it
        home = tmp_path_factory.mktemp("builder")
        venv.create(home, with_pip=True)
        builder = home / Path(sysconfig.get_path("scripts")).name / "python"
    command = [builder, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode != 0 and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the build backend can't be fetched here")
    assert done.returncode == 0, done.stderr
    (found,) = target.glob("mlms-*.whl")
    return found


def test_the_wheel_holds_assets_schemas_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for file in (CHECKOUT / "assets").rglob("*"):
        if file.is_file():
            assert f"mlms/{file.relative_to(CHECKOUT).as_posix()}" in names
    assert {
        f"mlms/manifests/schemas/{kind}.json" for kind in ("model", "framework", "dataset", "manifest", "run")
    } <= names
    assert "mlms/py.typed" in names
    assert "mlms/reports/templates/run.html" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    if built():  # so it can be built here
        assert "mlms/tracing/_events.abi3.so" in names
        assert "-cp310-abi3-" in wheel.name


def test_the_digits_run_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """In an environment that shares this one's packages, but not its mlms."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    places = {name: Path(path) for name, path in sysconfig.get_paths(vars={"base": str(home)}).items()}
    own = places["purelib"]
    # A path in a .pth file is searched for modules, but .pth files in it (an editable mlms is one) are not read.
    (own / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(own)
    work = tmp_path / "work"
    manifest(work / "manifest.yaml")
    python = places["scripts"] / "python"
    where = subprocess.run(
        [python, "-I", "-c", "import mlms; print(mlms.__file__)"], cwd=work, capture_output=True, text=True, check=True
    )
    assert Path(where.stdout.strip()).is_relative_to(own)
    listed = subprocess.run(
        [python, "-I", "-m", "mlms", "list", "models", "--json"], cwd=work, capture_output=True, text=True, check=True
    )
    shipped = len(list((CHECKOUT / "assets" / "models").rglob("*.yaml")))
    # Plugins that are installed here are found as well, and bring models of their own.
    found = [entry for entry in json.loads(listed.stdout) if Path(entry["path"]).is_relative_to(own / "mlms")]
    assert len(found) == shipped
    ended = subprocess.run(
        [python, "-I", "-m", "mlms", "eval", "manifest.yaml", "--json"],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (record,) = json.loads(ended.stdout)
    assert round(record["metrics"][0]["value"], 4) == record["metrics"][0]["published"]["value"]
    assert sorted(entry.name for entry in work.iterdir()) == ["manifest.yaml", "runs"]
