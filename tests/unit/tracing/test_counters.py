from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fakes.counters import counter
from mlms.errors import StorageError
from mlms.tracing.counters import SCHEMA, CounterTable
from mlms.tracing.observations import titles

COUNTERS = [
    counter("process.memory.usage", [5.0, 6.0, 4.0], unit="By"),
    counter("faults", [0.0, 1.0], kind="sum", unit="{fault}", **{"fault.type": "minor", "pid": 7}),
    counter("faults", [0.0, 9.0], kind="sum", unit="{fault}", **{"fault.type": "major", "pid": 7}),
]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    table = CounterTable.of(COUNTERS, {"service.name": "mlms", "process.pid": 42})
    table.write(tmp_path / "counters.parquet")
    read = CounterTable.read(tmp_path / "counters.parquet")
    assert read.frame.equals(table.frame)
    assert dict(read.frame.schema) == SCHEMA
    assert read.resource == {"service.name": "mlms", "process.pid": 42}
    assert len(read) == 7
    for one, other in zip(read.series(), COUNTERS, strict=True):
        assert (one.name, one.unit, one.kind, dict(one.attributes)) == (
            other.name,
            other.unit,
            other.kind,
            dict(other.attributes),
        )
        assert np.array_equal(one.time_ns, other.time_ns)
        assert np.array_equal(one.value, other.value)


def test_no_counters_are_a_table_too(tmp_path: Path) -> None:
    table = CounterTable.of([])
    assert (len(table), table.series(), dict(table.frame.schema)) == (0, [], SCHEMA)
    table.write(tmp_path / "counters.parquet")
    assert len(CounterTable.read(tmp_path / "counters.parquet")) == 0


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "counters.parquet"
    CounterTable.of(COUNTERS).write(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match="cut off or damaged"):
        CounterTable.read(path)
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(StorageError, match="expected time_ns, name"):
        CounterTable.read(path)


def test_titles_tell_series_apart() -> None:
    made = titles([(one.name, one.attributes) for one in COUNTERS])
    assert made == ["process.memory.usage", "faults (fault.type=minor)", "faults (fault.type=major)"]
