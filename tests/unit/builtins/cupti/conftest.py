"""pycupti over its stand-in for libcupti and the driver, as this process's own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[4] / "pycupti" / "tests"


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    pytest.importorskip("pycupti.tracer", reason="pycupti isn't installed")
    sys.path.append(str(TESTS))
    from fake import build

    folder = tmp_path_factory.mktemp("libraries")
    yield build.libcupti(folder), build.libcuda(folder)
    sys.path.remove(str(TESTS))


@pytest.fixture
def fake(libraries: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Launches work on the stand-in."""
    from fake.driver import Fake

    cupti, cuda = libraries
    # PyTorch, when another test has imported it, brings the real libcupti, which pycupti would keep to.
    monkeypatch.setattr("pycupti.library.loaded", lambda: ())
    monkeypatch.setenv("PYCUPTI_LIBCUPTI", str(cupti))
    monkeypatch.setenv("PYCUPTI_LIBCUDA", str(cuda))
    driver = Fake(cupti)
    driver.reset()
    yield driver
    driver.reset()
