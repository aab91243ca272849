"""The clock of ``forward_clock.c``, for programs of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("forward_clock.c")


def built(folder: Path) -> Path:
    """The library, built in ``folder``: name it in LD_PRELOAD. Skips the test where it can't be had."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a clock to put forward takes Linux and a C compiler")
    library = folder / "forward_clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library
