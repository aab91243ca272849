"""``mlms`` as a program that has the plugin in ``known_plugin/`` installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
PLUGIN = TESTS / "fakes" / "known_plugin"


def manifest(folder: Path, models: Sequence[str], **changes: Any) -> Path:
    """A manifest of the plugin's models under the default rules of ``single_stream``."""
    path = folder / "known.yaml"
    document = {
        "kind": "manifest",
        "schema_version": 1,
        "name": "known",
        "models": list(models),
        "dataset": "known-rows",
        "warmup": 4,
        "trace": "none",
        **changes,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def mlms(*arguments: object, folder: Path, clock: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``mlms ARGUMENTS`` in ``folder``, with a ``clock`` that predictions put forward or with the real one."""
    path = os.pathsep.join([str(PLUGIN), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    preloaded = {} if clock is None else {"LD_PRELOAD": str(clock)}
    return subprocess.run(
        [sys.executable, "-m", "mlms", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path} | preloaded,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
