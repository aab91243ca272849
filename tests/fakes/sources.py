"""Sources of figures for the sampling process, which imports this module."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

from mlms.tracing.sampler import Series


class Ramp:
    """A gauge that counts the readings, a sum that starts at 100 and rises by 2, and a gauge at every other reading."""

    notes: Sequence[str] = ("a note",)
    series: Sequence[Series] = (
        Series("readings", "1", "gauge"),
        Series("steps", "{step}", "sum", {"foot": "left", "number": 1}),
        Series("seldom", "By", "gauge"),
    )

    def __init__(self, **told: object) -> None:
        self._readings = 0
        print("what a library prints")

    def read(self) -> Sequence[float]:
        self._readings += 1
        now = self._readings
        return (now, 100 + 2 * now, math.nan if now % 2 else now)


class Nothing:
    notes: Sequence[str] = ("off, since there is nothing here: buy one",)
    series: Sequence[Series] = ()

    def read(self) -> Sequence[float]:
        raise AssertionError("nobody reads a source without series")


class Broken:
    def __init__(self) -> None:
        raise LookupError("no such thing")


class Failing(Ramp):
    """Fails at the third reading."""

    def read(self) -> Sequence[float]:
        if self._readings == 2:
            raise OSError("it was unplugged")
        return super().read()


class Dying(Ramp):
    def read(self) -> Sequence[float]:
        if self._readings == 2:
            os._exit(3)
        return super().read()


class Dead:
    def __init__(self) -> None:
        os._exit(4)


class Hanging:
    def __init__(self) -> None:
        time.sleep(60)


class Stubborn(Ramp):
    """The second reading doesn't come back."""

    def read(self) -> Sequence[float]:
        if self._readings == 1:
            time.sleep(60)
        return super().read()
