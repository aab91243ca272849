import math
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.errors import StorageError
from mlms.tracing import attributes as attribute_text
from mlms.tracing.spans import SCHEMA, SpanTable, concat, predictions

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def table(count: int = 3, **attributes: object) -> SpanTable:
    start = np.arange(count, dtype=np.int64) * 10 + 1_700_000_000_000_000_000
    return predictions(TRACE, PARENT, "predict", start, start + 7, attributes)  # type: ignore[arg-type]


def test_predictions_fill_every_column() -> None:
    made = table(2, batch=4, query=np.array([0, 1]), name=np.array(["a", 'b"']))
    assert dict(made.frame.schema) == SCHEMA
    assert made.frame.drop("span_id").rows(named=True)[1] == {
        "trace_id": TRACE,
        "parent_id": PARENT,
        "name": "predict",
        "level": "model",
        "start_ns": 1_700_000_000_000_000_010,
        "end_ns": 1_700_000_000_000_000_017,
        "status": "unset",
        "status_message": None,
        "attributes": '{"batch":4,"query":1,"name":"b\\""}',
    }


def test_identifiers_are_unique_and_don_t_follow_a_seed() -> None:
    random.seed(0)
    np.random.seed(0)
    first = table(1000).frame["span_id"]
    random.seed(0)
    np.random.seed(0)
    second = table(1000).frame["span_id"]
    assert pl.concat([first, second]).n_unique() == 2000
    assert first.str.contains("^[0-9a-f]{16}$").all()


@given(
    st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text()), min_size=1),
    st.dictionaries(st.text(min_size=1).filter(lambda key: key not in "fibs"), st.floats(allow_nan=False) | st.text()),
)
def test_attributes_of_arrays_keep_value_and_type(
    rows: list[tuple[float, int, bool, str]], shared: dict[str, float | str]
) -> None:
    # numpy's own text arrays drop trailing NULs
    rows = [(f, i, b, s.rstrip("\0")) for f, i, b, s in rows]
    f, i, b, s = (np.array(column) for column in zip(*rows, strict=True))
    made = table(len(rows), **{"f": f, "i": i.astype(np.int64), "b": b, "s": s}, **shared)
    for text, row in zip(made.frame["attributes"], rows, strict=True):
        back = attribute_text.loads(text)
        assert {key: back.pop(key) for key in shared} == shared
        if math.isnan(row[0]):
            assert math.isnan(back.pop("f"))
        else:
            assert repr(back.pop("f")) == repr(row[0])
        assert [(key, type(value), value) for key, value in back.items()] == [
            ("i", int, row[1]),
            ("b", bool, row[2]),
            ("s", str, row[3]),
        ]


def test_no_predictions_are_no_spans() -> None:
    assert len(table(0, query=np.array([], dtype=np.int64), batch=1)) == 0


def test_an_array_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="'query' has shape"):
        table(3, query=np.array([1, 2]))


def test_files_give_back_spans_and_resource(tmp_path: Path) -> None:
    made = SpanTable(table(5, x=1.5).frame, {"service.name": "mlms", "process.pid": 7})
    made.write(tmp_path / "spans.parquet")
    back = SpanTable.read(tmp_path / "spans.parquet")
    assert back.frame.equals(made.frame)
    assert back.resource == made.resource


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spans.parquet"
    table(1000).write(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorageError, match="cut off or damaged") as caught:
        SpanTable.read(path)
    assert str(path) in str(caught.value)


def test_an_empty_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(StorageError, match="cut off or damaged"):
        SpanTable.read(tmp_path / "empty")
    with pytest.raises(StorageError, match="missing"):
        SpanTable.read(tmp_path / "none")


def test_what_can_t_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "spans.parquet").mkdir()
    with pytest.raises(StorageError, match=r"spans\.parquet: can't be read: Is a directory"):
        SpanTable.read(tmp_path / "spans.parquet")


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other")
    with pytest.raises(StorageError, match="has the columns a; expected trace_id"):
        SpanTable.read(tmp_path / "other")


def test_concat_orders_by_time_with_the_longer_span_first() -> None:
    inner = table(1)
    outer = SpanTable(inner.frame.with_columns(name=pl.lit("outer"), end_ns=pl.col("end_ns") + 100), {"a": 1})
    both = concat([inner, outer])
    assert both.frame["name"].to_list() == ["outer", "predict"]
    assert both.resource == inner.resource
    assert len(concat([])) == 0


def test_names_that_utf8_can_t_hold_are_written_out() -> None:
    start = np.array([1], dtype=np.int64)
    assert predictions(TRACE, None, "a\ud800b", start, start, {}).frame["name"].to_list() == [r"a\ud800b"]
