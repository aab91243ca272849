"""References to assets: ``name`` or ``name@version``, versions in semver's order, and names that were nearly right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHOWN = 8


class Reference(NamedTuple):
    name: str
    version: str | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        name, _, version = text.partition("@")
        return cls(name, version or None)


def precedence(version: str) -> tuple[object, ...]:
    """Sort key of a semantic version (semver.org, clause 11); build metadata only breaks ties."""
    release, _, build = version.partition("+")
    core, _, pre = release.partition("-")
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")]
    return (*map(int, core.split(".")), not pre, parts if pre else [], build)


def suggestion(name: str, known: Iterable[str], listing: str, shown: int = _SHOWN) -> str:
    """The mend for an unknown name: the nearest names, else ``shown`` of those there are and where to find the rest."""
    names = sorted(set(known))
    if nearest := get_close_matches(name, names, n=3, cutoff=0.6):
        return f"did you mean {' or '.join(repr(item) for item in nearest)}?"
    if not names:
        return f"there are none yet; see {listing}"
    more = f" and {len(names) - shown} more; see {listing}" if len(names) > shown else ""
    return f"there are {', '.join(names[:shown])}{more}"
