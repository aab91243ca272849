"""Whether pycupti is here, and the one line that says why not."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from mlms.tracing.recorder import Recorder

MEND = "pip install ./pycupti, from mlms's sources; it needs a C compiler"


def pycupti_or_note(recorder: Recorder, profiler: str) -> ModuleType | None:
    """The package; without it None, and a note that names ``profiler``."""
    try:
        package = import_module("pycupti")
    except ImportError:
        package = None
    # A folder of its sources can be imported under its name too, but has nothing in it.
    if package is None or not hasattr(package, "Tracer"):
        recorder.notes.append(f"{profiler}: off: the package pycupti isn't installed ({MEND})")
        return None
    return package
