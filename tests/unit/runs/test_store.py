from pathlib import Path

import pytest

from fakes.records import write_run
from mlms.errors import StorageError, UnknownNameError
from mlms.runs.store import find, finished_runs, runs, scan

OLD, NEW, OTHER = "20260101-000000-a-11111111", "20260202-000000-a-22222222", "20260202-000000-b-33333333"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path, NEW, name="a", digest="a" * 64, started_at="2026-02-02T00:00:00.000000Z")
    write_run(tmp_path, OTHER, name="b", digest="b" * 64, started_at="2026-02-02T00:00:00.500000Z", status="failed")
    write_run(tmp_path, OLD, name="a", digest="a" * 64, started_at="2026-01-01T00:00:00.000000Z")
    return tmp_path


def test_newest_first(root: Path) -> None:
    assert [run.id for run in runs(root)] == [OTHER, NEW, OLD]


def test_broken_directories_are_problems(root: Path) -> None:
    (root / "empty").mkdir()
    (root / OLD / "run.json").write_text("{", "utf-8")
    (root / ".hidden.partial").mkdir()
    (root / "one.failed").mkdir()
    (root / "notes.txt").touch()
    found, problems = scan(root)
    assert [run.id for run in found] == [OTHER, NEW]
    assert [problem.message.partition(":")[0] for problem in problems] == [
        "this record is damaged",
        "this is no run",
    ]


def test_no_folder_holds_no_runs_and_a_file_is_refused(tmp_path: Path) -> None:
    assert list(runs(tmp_path / "none")) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't list runs"):
        scan(tmp_path / "file")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("@last", OTHER), (OLD, OLD), ("20260101", OLD), ("a", NEW), ("b", OTHER), ("20260202-000000-a", NEW)],
)
def test_what_a_run_answers_to(reference: str, expected: str, root: Path) -> None:
    assert find(root, reference).id == expected


def test_paths(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(root / "none", str(root / OLD)).id == OLD
    assert find(root / "none", str(root / OLD / "run.json")).id == OLD
    monkeypatch.chdir(root.parent)
    assert find(Path("none"), f"{root.name}/{OLD}").id == OLD


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("2026", "fits 3 runs"),
        ("20260202", f"fits 2 runs: {OTHER}, {NEW}"),
        ("zzz", "no run 'zzz'"),
        ("", "this is no run"),
    ],
)
def test_what_no_single_run_answers_to(reference: str, message: str, root: Path) -> None:
    with pytest.raises((UnknownNameError, StorageError), match=message):
        find(root, reference)


def test_the_nearest_name_is_named(root: Path) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{OLD}'"):
        find(root, OLD.replace("1111", "1112", 1) + "x")


def test_last_of_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="there are no runs"):
        find(tmp_path, "@last")


def test_finished_runs_are_the_newest_of_each_digest_and_repeat(root: Path) -> None:
    assert finished_runs(root) == {("a" * 64, None): root / NEW}
    second = write_run(root, digest="a" * 64, repeat={"index": 2, "of": 3, "group": "a" * 64})
    assert finished_runs(root) == {("a" * 64, None): root / NEW, ("a" * 64, 2): second}
