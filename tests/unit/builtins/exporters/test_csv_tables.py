import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.exported import FAILED, changed, exported, opened
from mlms.errors import InputError, StorageError


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_line_a_run_with_empty_cells_for_what_is_not_there(tmp_path: Path) -> None:
    whole, failed = rows(exported("csv", opened(tmp_path, "a"), opened(tmp_path, "b", **FAILED)))
    assert whole["run"] == "a"
    assert whole["top1"] == "98.8889"
    assert whole["top1_unit"] == "%"
    assert whole["latency_p90_ns"] == "90222"
    assert whole["latency_p99_ns"] == ""  # withheld
    assert whole["valid"] == "true"
    assert whole["throughput"] == "12000.1"
    assert failed["status"] == "failed"
    assert failed["top1"] == failed["latency_mean_ns"] == ""


def test_levels_share_no_table(tmp_path: Path) -> None:
    runs = [opened(tmp_path, "a"), opened(tmp_path, "b", **changed("trace", level="layer"))]
    with pytest.raises(InputError, match=r"different levels \(model, layer\)") as caught:
        exported("csv", *runs)
    assert "markdown" in str(caught.value.hint)


def test_raw_latencies(tmp_path: Path) -> None:
    text = exported("csv", opened(tmp_path, "a"), opened(tmp_path, "b"), table="latencies")
    assert text.splitlines() == [
        "run,query,phase,start_ns,latency_ns,samples",
        "a,0,warmup,1,5,1",
        "a,1,measured,2,6,1",
        "b,0,warmup,1,5,1",
        "b,1,measured,2,6,1",
    ]


def test_lists_among_predictions_are_json(tmp_path: Path) -> None:
    found = rows(exported("csv", opened(tmp_path, "a"), table="predictions"))
    assert [row["sample"] for row in found] == ["a.png", "b.png"]
    assert [json.loads(row["classes"]) for row in found] == [[1, 2], [3, 4]]


def test_a_run_that_kept_no_predictions(tmp_path: Path) -> None:
    accuracy = {"reported": False, "reason": "the weights are random"}
    run = opened(tmp_path, "a", files={"latencies": "latencies.parquet"}, accuracy=accuracy)
    with pytest.raises(InputError, match="run a kept no predictions") as caught:
        exported("csv", run, table="predictions")
    assert caught.value.hint == "the weights are random"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    run = opened(tmp_path, "a")
    (run.path / "latencies.parquet").unlink()
    with pytest.raises(StorageError, match=r"latencies\.parquet: this file is missing"):
        exported("csv", run, table="latencies")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r")))
def test_any_name_is_read_back(name: str, tmp_path: Path) -> None:
    run = opened(tmp_path)
    run.record["name"] = name
    assert rows(exported("csv", run))[0]["name"] == name
