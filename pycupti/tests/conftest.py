import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fake import build
from fake.driver import Fake

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("libraries")
    return {"cupti": build.libcupti(folder), "cuda": build.libcuda(folder), "crash": build.libcrash(folder)}


@pytest.fixture(scope="session")
def loaded_fake(libraries: dict[str, Path]) -> Iterator[Fake]:
    """The stand-ins, as this process's driver and libcupti."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PYCUPTI_LIBCUPTI", str(libraries["cupti"]))
    patch.setenv("PYCUPTI_LIBCUDA", str(libraries["cuda"]))
    yield Fake(libraries["cupti"])
    patch.undo()


@pytest.fixture
def fake(loaded_fake: Fake) -> Iterator[Fake]:
    loaded_fake.reset()
    yield loaded_fake
    loaded_fake.reset()


@pytest.fixture
def run_python() -> Run:
    """Run code in a fresh interpreter, with an environment of CUDA libraries of its own."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYCUPTI_", "FAKE_", "CUDA_"))}
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=120, env={**kept, **variables}
        )

    return run
