"""Environments for workers: the one that the tests run in, without building any."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from mlms.environments.environment import Environment

SERVED = Path(__file__).with_name("served_plugin") / "mlms_served"


def this_environment() -> Environment:
    """The virtual environment of this process, as if mlms had made it."""
    return Environment(
        name="tests-0",
        digest="0" * 64,
        folder=Path(sys.prefix),
        python=platform.python_version(),
        requirements=("numpy",),
        packages={},
        lock_sha256="0" * 64,
        built_with="uv",
        created="2026-01-01T00:00:00+00:00",
    )
