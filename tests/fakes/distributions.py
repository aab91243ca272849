"""Third-party plugins, installed into a directory as pip installs them: modules beside a ``*.dist-info``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.program import forget_plugins


def install(site: Path, distribution: str, version: str, source: str, entry_point: str | None = None) -> None:
    """Install a distribution of one module, ``<distribution>_plugin``, registered under ``entry_point``."""
    module = f"{distribution.replace('-', '_')}_plugin"
    site.mkdir(parents=True, exist_ok=True)
    (site / f"{module}.py").write_text(source, encoding="utf-8")
    information = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (information / "entry_points.txt").write_text(f"[mlms]\n{entry_point or distribution} = {module}\n")


def install_acme(site: Path) -> None:
    """Install the plugin of ``fakes/acme_plugin.py``."""
    install(site, "acme", "1.2.3", Path(__file__).with_name("acme_plugin.py").read_text(encoding="utf-8"))


def search_path(site: Path) -> str:
    """PYTHONPATH for a process that is to find what is installed in ``site``."""
    return os.pathsep.join([str(site), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])


@contextmanager
def importable(site: Path) -> Iterator[None]:
    """Have this process find what is installed in ``site``, for as long as the context is open."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        forget_plugins()
        try:
            yield
        finally:
            forget_plugins()
            for name in set(sys.modules) - before:
                if Path(str(getattr(sys.modules[name], "__file__", None))).parent == site:
                    del sys.modules[name]
