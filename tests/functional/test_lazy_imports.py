"""What each command may not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("jinja2", "jsonschema", "numpy", "opentelemetry", "polars", "requests", "rich", "torch", "torchmetrics")


def imported(statement: str, cache: Path) -> set[str]:
    """The heavy packages that a fresh process has imported after a statement."""
    program = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint('modules', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "MLMS_CACHE": str(cache)},
        cwd=cache,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = done.stdout.rpartition("modules ")[2].split()
    return {module.partition(".")[0] for module in modules} & set(HEAVY)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["list", "models"]], ids=" ".join)
def test_command_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    statement = f"from mlms.cli import main; main({arguments!r})"
    imported(statement, tmp_path)  # the first listing reads and checks every asset
    assert imported(statement, tmp_path) == set()


def test_executor_leaves_what_only_the_record_needs_for_after_the_measurement(tmp_path: Path) -> None:
    assert imported("import mlms.executor.sweep", tmp_path) <= {"numpy"}
