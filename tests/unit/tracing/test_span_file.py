"""A span table that is written in parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlms.errors import StorageError
from mlms.tracing.span_file import write_tables
from mlms.tracing.spans import SpanTable, StoredSpans, concat, predictions

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
RESOURCE = {"service.name": "mlms"}


def table(starts: list[int]) -> SpanTable:
    instants = np.array(starts, dtype=np.int64)
    return predictions(TRACE_ID, None, "predict", instants, instants + 5, {"mlms.query": np.arange(len(starts))})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), max_size=12), max_size=6), st.integers(1, 20))
def test_in_parts_as_in_one(tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], most: int) -> None:
    folder = tmp_path_factory.mktemp("spans")
    scratch = folder / "scratch"
    scratch.mkdir()
    tables = [table(part) for part in parts]
    write_tables(tables, RESOURCE, folder / "spans.parquet", scratch, most_rows=most)
    found, whole = SpanTable.read(folder / "spans.parquet"), concat(tables, RESOURCE)
    assert found.resource == RESOURCE
    assert found.frame["start_ns"].to_list() == whole.frame["start_ns"].to_list()
    assert found.frame.sort("span_id").equals(whole.frame.sort("span_id"))
    assert len(StoredSpans(folder / "spans.parquet")) == len(whole)


def test_a_small_table_needs_no_other_file(tmp_path: Path) -> None:
    write_tables([table([3, 1, 2])], RESOURCE, tmp_path / "spans.parquet", tmp_path / "nowhere")
    assert pl.read_parquet(tmp_path / "spans.parquet")["start_ns"].to_list() == [1, 2, 3]


def test_a_place_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="can't write here"):
        write_tables([table([1]), table([2])], RESOURCE, tmp_path / "spans.parquet", tmp_path / "nowhere", most_rows=0)
