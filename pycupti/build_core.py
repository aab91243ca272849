"""Describes the extension module `pycupti._core` to cffi: declarations from decl/, sources from csrc/."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
DECLARATIONS = ("records", "loader", "tracer", "otlp", "range")
SOURCES = (
    "loader",
    "driver",
    "table",
    "names",
    "decode",
    "pool",
    "correlate",
    "clock",
    "calls",
    "tracer",
    "otlp",
    "range",
)

ffi = FFI()
for name in DECLARATIONS:
    ffi.cdef((HERE / "decl" / f"{name}.h").read_text())
ffi.set_source(
    "pycupti._core",
    '#include "core.h"',
    sources=[f"csrc/{name}.c" for name in SOURCES],
    include_dirs=["csrc"],
    extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden"],
    libraries=["dl", "pthread"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
