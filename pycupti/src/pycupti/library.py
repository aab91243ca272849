"""Which libcupti to use, and which is in the process already."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycupti.errors import Unavailable

_SONAMES = ("libcupti.so.13", "libcupti.so.12", "libcupti.so.11.8", "libcupti.so")
_WHEEL_FOLDERS = ("nvidia/cu13/lib", "nvidia/cuda_cupti/lib")
_TOOLKIT_FOLDERS = ("lib64", "lib", "extras/CUPTI/lib64")


def core() -> Any:
    """Return the compiled core's (ffi, lib).

    Raises Unavailable where it wasn't built, which is everywhere but Linux.
    """
    try:
        from pycupti import _core
    except ImportError as error:
        raise Unavailable(
            f"pycupti's compiled core can't be loaded: {error}",
            "CUPTI tracing works on Linux; there, reinstall pycupti with a C compiler at hand",
        ) from error
    return _core


def _located(name: str) -> str:
    """Make a path absolute, for a subprocess elsewhere; a bare name is the dynamic loader's to find."""
    return str(Path(name).absolute()) if "/" in name else name


def libcuda() -> str:
    """Name or path of the driver library; PYCUPTI_LIBCUDA overrides it."""
    return _located(os.environ.get("PYCUPTI_LIBCUDA", "libcuda.so.1"))


def loaded() -> tuple[str, ...]:
    """Paths of every libcupti in this process, oldest first."""
    module = core()
    paths: list[str] = []
    while (found := module.lib.pcu_loaded_cupti(len(paths))) != module.ffi.NULL:
        paths.append(module.ffi.string(found).decode())
    return tuple(paths)


def _in_folder(folder: Path) -> Iterator[str]:
    for name in _SONAMES:
        if (folder / name).is_file():
            yield str(folder / name)
            return


def _installed() -> Iterator[str]:
    for root in sys.path:
        for folder in _WHEEL_FOLDERS:
            yield from _in_folder(Path(root or ".") / folder)
    toolkits = [os.environ.get("CUDA_HOME", ""), os.environ.get("CUDA_PATH", ""), "/usr/local/cuda"]
    for toolkit in filter(None, toolkits):
        for folder in _TOOLKIT_FOLDERS:
            yield from _in_folder(Path(toolkit) / folder)


def find() -> str | None:
    """Path of the libcupti to use, or None: the one already loaded, PYCUPTI_LIBCUPTI, the wheels', the toolkit's."""
    present = loaded()
    if present:
        return present[0]
    named = os.environ.get("PYCUPTI_LIBCUPTI")
    if named:
        return _located(named)
    return next(map(_located, _installed()), None)
