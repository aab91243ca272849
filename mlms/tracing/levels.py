"""How deep a trace goes."""

from __future__ import annotations

LEVELS = ("none", "application", "model", "framework", "layer", "operator", "library", "hardware")
"""From nothing to everything: a level holds the spans of all levels before it."""

LEVEL_ATTRIBUTE = "mlms.level"
"""Carries the level where spans have attributes only (in the SDK and in OTLP); the span table has a column instead."""


def depth(level: str) -> int:
    """Position of a level in ``LEVELS``.

    Raises:
        ValueError: ``level`` is none of them.

    >>> depth("none"), depth("layer")
    (0, 4)
    """
    if level not in LEVELS:
        raise ValueError(f"no trace level '{level}'; it is one of {', '.join(LEVELS)}")
    return LEVELS.index(level)
