"""Readable kernel names."""

import ctypes
from functools import lru_cache


@lru_cache(maxsize=1)
def _demangler() -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    try:
        runtime = ctypes.CDLL("libstdc++.so.6")
    except OSError:
        return None
    runtime.__cxa_demangle.restype = ctypes.c_void_p
    runtime.__cxa_demangle.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    return runtime, libc


@lru_cache(maxsize=65536)
def demangle(name: str) -> str:
    """Return a C++ name as it was written; any other name, or without libstdc++, comes back as it is.

    >>> demangle("gemm")
    'gemm'
    """
    tools = _demangler()
    if tools is None or not name.startswith("_Z"):
        return name
    runtime, libc = tools
    status = ctypes.c_int()
    text = runtime.__cxa_demangle(name.encode(), None, None, ctypes.byref(status))
    if not text:
        return name
    try:
        return ctypes.string_at(text).decode(errors="replace")
    finally:
        libc.free(text)
