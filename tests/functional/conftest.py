"""Every functional test runs in an empty directory of its own, out of reach of the caller's environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.distributions import importable, install_acme


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the catalog has read, kept from test to test."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory."""
    for name in list(os.environ):
        if name.startswith(("MLMS_", "OTEL_")) or name == "TRACEPARENT":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLMS_CACHE", str(shared_cache))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Path]:
    """The acme plugin installed; gives the directory that it is in. A weights file lies in the current directory."""
    site = tmp_path / "site"
    install_acme(site)
    Path("judge.bin").write_bytes(b"weights")
    with importable(site):
        yield site
