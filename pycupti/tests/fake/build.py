"""Compiles the stand-in libraries with gcc, every warning an error."""

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"
FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fPIC")


def library(folder: Path, name: str, sources: tuple[str, ...], extra: tuple[str, ...] = ()) -> Path:
    """Build `folder/name` from sources in this folder."""
    out = folder / name
    files = [str(HERE / source) for source in sources]
    subprocess.run(["gcc", *FLAGS, *extra, "-shared", f"-I{CSRC}", *files, "-o", str(out), "-lpthread"], check=True)
    return out


def libcupti(folder: Path, extra: tuple[str, ...] = ()) -> Path:
    """Build the stand-in libcupti."""
    return library(folder, "libcupti.so.13", ("libcupti.c", "libcalls.c", "librange.c"), extra)


def libcuda(folder: Path, extra: tuple[str, ...] = ()) -> Path:
    """Build the stand-in driver."""
    return library(folder, "libcuda.so.1", ("libcuda.c",), extra)


def libcrash(folder: Path) -> Path:
    """Build a libcupti that crashes when it is loaded."""
    return library(folder, "libcupti-crash.so", ("libcrash.c",))
