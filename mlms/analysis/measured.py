"""What an analysis needs of a run; ``mlms.runs.run.Run`` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import polars as pl


class Measured(Protocol):
    """A record and its frames, read when asked for."""

    @property
    def record(self) -> Mapping[str, Any]: ...
    @property
    def latencies(self) -> pl.DataFrame: ...
    @property
    def predictions(self) -> pl.DataFrame: ...
