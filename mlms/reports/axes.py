"""Axes: where ticks go on a scale and how a duration reads beside one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

UNITS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at ``position``, in percent of the axis from its low end."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear or logarithmic scale from ``low`` to ``high`` (low < high; both above 0 when ``log``)."""

    low: float
    high: float
    log: bool = False

    def position(self, value: float) -> float:
        """Percent of the way from low to high, clamped to the axis.

        >>> Axis(0, 50).position(10), Axis(1, 100, log=True).position(10)
        (20.0, 50.0)
        """
        if self.log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(max(value, self.low))
        else:
            low, high = self.low, self.high
        return min(100.0, max(0.0, 100 * (value - low) / (high - low)))

    def values(self, wanted: int = 5) -> list[float]:
        """About ``wanted`` round values on the axis: 1, 2 or 5 times a power of ten, or multiples of such a step."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for factors in ((1, 2, 5), (1, 3), (1,)):
                found = [f * 10.0**d for d in decades for f in factors if self.low <= f * 10.0**d <= self.high]
                if len(found) <= wanted + 2:
                    return found
            return found[:: math.ceil(len(found) / wanted)]
        step = round_step((self.high - self.low) / wanted)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]

    def duration_ticks(self, wanted: int = 5) -> list[Tick]:
        """Ticks for an axis in nanoseconds."""
        return [Tick(round(self.position(value), 2), axis_duration(value)) for value in self.values(wanted)]

    def count_ticks(self, wanted: int = 4) -> list[Tick]:
        """Ticks for an axis of whole numbers."""
        whole = sorted({round(value) for value in self.values(wanted)})
        return [Tick(round(self.position(value), 2), f"{value:,}") for value in whole]


def round_step(raw: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below ``raw`` (above 0).

    >>> round_step(3), round_step(0.06), round_step(20)
    (5.0, 0.1, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(raw))
    return next((factor * power for factor in (1, 2, 5) if raw <= factor * power * (1 + 1e-9)), 10 * power)


def axis_duration(nanoseconds: float) -> str:
    """A round duration without superfluous digits.

    >>> axis_duration(1500), axis_duration(2e9), axis_duration(0)
    ('1.5 µs', '2 s', '0')
    """
    if nanoseconds == 0:
        return "0"
    scale, unit = next((entry for entry in UNITS if abs(nanoseconds) >= entry[0] * (1 - 1e-9)), UNITS[-1])
    return f"{nanoseconds / scale:,.10g} {unit}"


def spread(positions: Sequence[float], apart: float) -> list[int]:
    """The row each label goes to so that no two of a row are closer than ``apart``; positions ascend.

    >>> spread([10, 12, 14, 40], 10)
    [0, 1, 2, 0]
    """
    ends: list[float] = []
    rows = []
    for position in positions:
        row = next((index for index, end in enumerate(ends) if position - end >= apart), len(ends))
        ends[row : row + 1] = [position]
        rows.append(row)
    return rows
