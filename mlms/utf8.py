"""Text that UTF-8 can't hold: Python has the odd bytes of a file's name, and of a variable, as lone surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def escaped(text: str) -> str:
    r"""``text`` with its lone surrogates written out, as ``\udcff``."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def storable(data: Any) -> Any:
    """The same for all text, keys too, in lists and mappings, however deep; tuples become lists, as in JSON."""
    if isinstance(data, str):
        return escaped(data)
    if isinstance(data, Mapping):
        return {storable(key): storable(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [storable(value) for value in data]
    return data
