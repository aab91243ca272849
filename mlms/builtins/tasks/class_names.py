"""Two lists of class names, held against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moved:
    """A name that is class ``ours`` in one list and class ``theirs`` in the other."""

    name: str
    ours: int
    theirs: int


def other_order(ours: Sequence[str], theirs: Sequence[str]) -> Moved | None:
    """The first name that shows that the lists number classes in different orders; None where nothing shows it.

    They do where they hold the same names in other places, or more of the names in both in other places than in the
    same. A few names in other places show nothing among others that stay: two of ImageNet's classes are cranes, and
    lists differ in which of them is called just that.
    """
    counts = Counter(ours), Counter(theirs)
    places = {name: index for index, name in enumerate(theirs)}
    shared = [(name, index, places[name]) for index, name in enumerate(ours) if all(each[name] == 1 for each in counts)]
    moved = [Moved(name, here, there) for name, here, there in shared if here != there]
    if moved and (counts[0] == counts[1] or 2 * len(moved) > len(shared)):
        return moved[0]
    return None


def differing(ours: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """The classes whose names differ in more than case, spaces, hyphens and underscores; lists of one length."""
    return [index for index, names in enumerate(zip(ours, theirs, strict=True)) if len(set(map(_plain, names))) > 1]


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character not in " -_")
