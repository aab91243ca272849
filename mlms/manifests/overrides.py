"""``--set key.sub=value``: changes to a manifest's data before it is checked."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from mlms.errors import DocumentError, InputError, Place, Problem

SHORTHAND = {"scenario": "type", "trace": "level", "dataset": "name"}
"""Keys that may hold a word in place of a mapping, and the mapping's key that the word stands for."""
_MODELS = ("model", "models")


class Override(NamedTuple):
    text: str
    pointer: tuple[str | int, ...]
    value: Any

    @property
    def place(self) -> Place:
        return Place(f"--set {self.text}")


def parse(text: str) -> Override:
    """One ``key.sub=value``; the value is YAML, numbers in the key are list positions from 0.

    Raises:
        InputError: there is no ``=`` or no key.
        DocumentError: the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[^.\s]+(\.[^.\s]+)*", key.strip()):
        raise InputError(f"'--set {text}' is not KEY=VALUE", hint="write it like --set scenario.min_queries=64")
    from mlms.manifests.yaml12 import load

    data = load(value, f"--set {text}")
    return Override(text, tuple(int(part) if part.isdecimal() else part for part in key.strip().split(".")), data)


def apply(data: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """A copy of a manifest's data with the overrides laid over it, later ones over earlier ones.

    A key that is set also leaves the matrix: what the user pins varies no more.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for override in overrides:
        head = str(override.pointer[0])
        if len(override.pointer) == 1:
            same = _MODELS if head in _MODELS else (head,)
            for name in same:
                changed.pop(name, None)
                if isinstance(matrix := changed.get("matrix"), dict):
                    matrix.pop(name, None)
                    if not matrix:
                        del changed["matrix"]
        _set(changed, override)
    return changed


def _set(data: dict[str, Any], override: Override) -> None:
    here: Any = data
    *way, last = override.pointer
    for depth, part in enumerate(way):
        inner = here.get(str(part)) if isinstance(here, dict) else _item(here, part, override)
        if inner is None and isinstance(here, dict):
            inner = {}
        elif isinstance(inner, str) and depth == 0 and part in SHORTHAND:
            inner = {SHORTHAND[str(part)]: inner}
        if isinstance(here, dict):
            here[str(part)] = inner
        here = inner
    if isinstance(here, dict):
        here[str(last)] = override.value
    else:
        _item(here, last, override)
        here[last] = override.value


def _item(items: Any, part: str | int, override: Override) -> Any:
    if not isinstance(items, list):
        _fail(override, f"what '{part}' would be set in is neither a mapping nor a list")
    if not isinstance(part, int) or part >= len(items):
        _fail(override, f"'{part}' is no position in a list of {len(items)}")
    return items[part]


def _fail(override: Override, message: str) -> NoReturn:
    raise DocumentError([Problem(override.place, ".".join(map(str, override.pointer)), message)])
