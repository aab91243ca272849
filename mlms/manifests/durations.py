"""Durations as the YAML writes them."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str | float) -> float:
    """A duration in seconds; its form has been held against the schema.

    >>> [seconds(duration) for duration in (10, "500ms", "10s", "2m", "1h")]
    [10.0, 0.5, 10.0, 120.0, 3600.0]
    """
    if not isinstance(duration, str):
        return float(duration)
    match = re.fullmatch(r"([0-9.]+)(ms|s|m|h)", duration)
    assert match is not None, duration
    return float(match[1]) * _UNITS[match[2]]
