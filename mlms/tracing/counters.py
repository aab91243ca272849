"""The table of counters: one row a sample, columns as in ``SCHEMA``. Imports polars; import it where it is used.

========== ======= ====================================================================================================
column     type    meaning
========== ======= ====================================================================================================
time_ns    Int64   Unix time, ns
name       String  what is counted or measured, such as process.memory.usage
unit       String  UCUM's
kind       String  "gauge": the figure at that time; "sum": the increase since the series' first sample
value      Float64
attributes String  a JSON object, see ``mlms.tracing.attributes``; with the name it tells the series apart
========== ======= ====================================================================================================

In a file the resource (what was observed: service, host, process) is key-value metadata, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlms.tracing import attributes as attribute_text
from mlms.tracing import parquet
from mlms.tracing.observations import Counter

SCHEMA: dict[str, type[pl.DataType]] = {
    "time_ns": pl.Int64,
    "name": pl.String,
    "unit": pl.String,
    "kind": pl.String,
    "value": pl.Float64,
    "attributes": pl.String,
}

_RESOURCE_KEY = "mlms.resource"


@dataclass(frozen=True)
class CounterTable:
    """Samples as a polars frame (columns ``SCHEMA``), and the OpenTelemetry resource that they are of."""

    frame: pl.DataFrame
    resource: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.frame.height

    @classmethod
    def of(cls, counters: Iterable[Counter], resource: Mapping[str, Any] | None = None) -> CounterTable:
        """The samples of all series, one series after the other."""
        frames = [
            pl.DataFrame({"time_ns": pl.Series(one.time_ns, dtype=pl.Int64), "value": one.value}).select(
                "time_ns",
                name=pl.lit(one.name),
                unit=pl.lit(one.unit),
                kind=pl.lit(one.kind),
                value=pl.col("value").cast(pl.Float64),
                attributes=pl.lit(attribute_text.dumps(one.attributes)),
            )
            for one in counters
        ]
        return cls(pl.concat([pl.DataFrame(schema=SCHEMA), *frames]), resource or {})

    def series(self) -> list[Counter]:
        """The samples by series, in the order in which they came.

        Raises:
            StorageError: attributes are no JSON objects.
        """
        found = []
        keys = ["name", "unit", "kind", "attributes"]
        for key, part in self.frame.group_by(keys, maintain_order=True):
            name, unit, kind, text = map(str, key)
            ordered = part.sort("time_ns", maintain_order=True)
            found.append(
                Counter(
                    name,
                    unit,
                    "sum" if kind == "sum" else "gauge",
                    ordered["time_ns"].to_numpy().astype(np.int64),
                    ordered["value"].to_numpy(),
                    attribute_text.loads(text),
                )
            )
        return found

    def write(self, path: Path) -> None:
        """Write as Parquet.

        Raises:
            StorageError: the place can't be written.
        """
        parquet.write(self.frame, path, {_RESOURCE_KEY: attribute_text.dumps(self.resource)})

    @classmethod
    def read(cls, path: Path) -> CounterTable:
        """Read what ``write`` wrote.

        Raises:
            StorageError: the file is missing, cut off, or no table of counters.
        """
        frame = parquet.read(path, SCHEMA)
        return cls(frame, attribute_text.loads(parquet.metadata(path).get(_RESOURCE_KEY, "{}")))
