"""How long work reports its progress, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units (bytes, samples, queries) done since the last call."""


class Progress(Protocol):
    """A display of running work. ``unit`` is "bytes" or a plural noun; ``total`` is None when unknown."""

    def task(self, description: str, total: int | None = None, unit: str = "items") -> AbstractContextManager[Advance]:
        """Show one piece of work for as long as the context is open."""
        ...

    def warn(self, message: str) -> None:
        """Tell the user of something that did not stop the work."""
        ...


class Silent:
    """Shows nothing; warnings are collected in ``warnings``."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    @contextmanager
    def task(self, description: str, total: int | None = None, unit: str = "items") -> Iterator[Advance]:
        yield lambda amount: None

    def warn(self, message: str) -> None:
        self.warnings.append(message)
