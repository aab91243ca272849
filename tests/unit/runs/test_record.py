import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fakes.records import record
from mlms.errors import DocumentError, StorageError
from mlms.runs.record import check, new_run_id, read

AT = datetime(2026, 11, 23, 21, 15, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("digits-cnn", "digits-cnn"), ("A/B ../c", "a-b-c"), ("数字", "run"), ("x" * 100, "x" * 48), ("Übung", "ubung")],
)
def test_ids_are_safe_names(name: str, slug: str) -> None:
    assert new_run_id(name, "1a2b3c4d5e", AT) == f"20261123-211500-{slug}-1a2b3c4d"


def test_ids_are_in_utc() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))
    assert new_run_id("a", "1a2b3c4d", elsewhere) == new_run_id("a", "1a2b3c4d", AT)


def test_a_record_that_fits_passes() -> None:
    check(record(), Path("run.json"))


def test_every_problem_of_a_record_is_reported() -> None:
    with pytest.raises(DocumentError) as caught:
        check(record(status="done", metrics=None), Path("there/run.json"))
    assert {problem.path for problem in caught.value.problems} == {"status", "metrics"}
    assert "there/run.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "not the record of a run"),
        ('{"kind": "model"}', "not the record of a run"),
        ('{"kind": "run", "schema_version": 2}', "schema_version 2; this mlms reads 1"),
        ('{"kind": "run", "schema_version": 1}', "'id', 'name', 'status', 'digest'"),
        ("\xff", "damaged"),
        pytest.param("[" * 200_000, "damaged", id="deep"),
    ],
)
def test_a_damaged_record_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StorageError, match=message) as caught:
        read(tmp_path)
    assert str(tmp_path / "run.json") in str(caught.value)


@pytest.mark.parametrize("key", sorted(record().keys() - {"kind", "schema_version"}))
def test_a_record_that_lacks_what_readers_rely_on_is_damaged(key: str, tmp_path: Path) -> None:
    whole = record()
    value = whole.pop(key)
    for given in (whole, {**whole, key: 5 if isinstance(value, str) else "damaged"}):
        (tmp_path / "run.json").write_text(json.dumps(given), "utf-8")
        with pytest.raises(StorageError, match=f"this record is damaged: without a proper '{key}'"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metrics", [5]),
        ("metrics", [{"name": "top1"}]),
        ("files", {"report": 5}),
        ("latency", {"unit": "ns"}),
        ("scenario", {**record()["scenario"], "valid": 1}),
        ("scenario", {**record()["scenario"], "min_queries": 1.5}),
    ],
)
def test_so_is_one_that_is_damaged_further_down(key: str, value: object, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record(**{key: value})), "utf-8")
    with pytest.raises(StorageError, match=f"damaged: without a proper '{key}'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"schema_version": 0}, "repeat the run, or open it with the version of mlms that wrote it"),
        ({"schema_version": 0, "mlms_version": "0.0.1"}, "repeat the run, or open it with mlms 0.0.1"),
        ({"schema_version": 2, "mlms_version": "9.1.0"}, "upgrade mlms, or open it with mlms 9.1.0"),
        ({}, "repeat the run, or open it with the version of mlms that wrote it"),
    ],
)
def test_another_schema_version_is_refused_with_the_way_out(
    given: dict[str, object], hint: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"kind": "run", **given}), "utf-8")
    with pytest.raises(StorageError, match="this mlms reads 1") as caught:
        read(tmp_path)
    assert caught.value.hint == hint


def test_a_directory_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"holds no run\.json"):
        read(tmp_path)
    with pytest.raises(StorageError, match="no such run directory"):
        read(tmp_path / "none")


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record()), "utf-8")
    assert read(tmp_path) == record()
