"""The plugin in ``tiny_plugin/``, and ``mlms`` as a program that has it installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fakes.distributions import search_path

PLUGIN = Path(__file__).parent / "tiny_plugin"

MANIFEST = """\
kind: manifest
schema_version: 1
name: tiny
model: adder
dataset: tiny-rows
scenario: {type: single_stream, min_query_count: 32, min_duration: 10ms, max_duration: 20s}
trace: {level: application}
warmup: 4
"""


def write_manifest(folder: Path, more: str = "") -> Path:
    path = folder / "tiny.yaml"
    path.write_text(MANIFEST + more)
    return path


def environment(trouble: Mapping[int, str] | None = None, log: Path | None = None) -> dict[str, str]:
    """The environment of a process that has the plugin; ``trouble`` by seed."""
    own = {
        "PYTHONPATH": search_path(PLUGIN),
        "TINY_TROUBLE": ",".join(f"{seed}={kind}" for seed, kind in (trouble or {}).items()),
    }
    return os.environ | own | ({"TINY_LOG": str(log)} if log else {})


def mlms(
    *arguments: object, folder: Path, trouble: Mapping[int, str] | None = None, log: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``mlms ARGUMENTS`` in ``folder``."""
    command = [sys.executable, "-m", "mlms", *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment(trouble, log), capture_output=True, text=True, timeout=120, check=False
    )


def loaded(log: Path) -> Sequence[tuple[int, int, int]]:
    """(seed, process, parent) of every model that was loaded, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(a), int(b), int(c)) for a, b, c in map(str.split, lines)]
