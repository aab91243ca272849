import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from fakes.records import record, write_run
from mlms.errors import InputError, StorageError
from mlms.runs.directory import RunDirectory, check_writable, root_from
from mlms.runs.partial import claim
from mlms.runs.run import Run
from mlms.runs.store import scan

ID = "20261123-211500-digits-cnn-1a2b3c4d"


def test_the_root_is_the_one_given_then_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLMS_RUNS", raising=False)
    assert root_from(None) == Path("runs")
    monkeypatch.setenv("MLMS_RUNS", "/elsewhere")
    assert root_from(None) == Path("/elsewhere")
    assert root_from(Path("given")) == Path("given")


def test_a_run_is_whole(tmp_path: Path) -> None:
    path = write_run(tmp_path / "deep" / "runs")
    assert path == tmp_path / "deep" / "runs" / ID
    assert {file.name for file in path.iterdir()} == {
        "run.json",
        "latencies.parquet",
        "predictions.parquet",
        "spans.parquet",
        "log.txt",
    }
    run = Run(path)
    assert dict(run.latencies.schema) == {
        "query": pl.Int64,
        "phase": pl.String,
        "start_ns": pl.Int64,
        "latency_ns": pl.Int64,
        "samples": pl.Int32,
    }
    assert run.predictions.rows() == [("a.png", [1, 2]), ("b.png", [3, 4])]
    assert run.spans["name"].to_list() == ["predict", "predict"]


def test_nothing_is_seen_before_the_end(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, ID) as directory:
        directory.write_record(record())
        assert [path.name for path in tmp_path.iterdir()] == [f".{ID}.partial"]
    assert [path.name for path in tmp_path.iterdir()] == [ID]
    assert directory.path == tmp_path / ID


@pytest.mark.parametrize(
    ("kind", "kept"),
    [(ValueError, [f"{ID}.failed.log"]), (InputError, []), (KeyboardInterrupt, []), (SystemExit, [])],
)
def test_an_exception_leaves_the_log_at_most(kind: type[BaseException], kept: list[str], tmp_path: Path) -> None:
    def write_half() -> None:
        with RunDirectory.create(tmp_path, ID) as directory:
            directory.write_record(record())
            raise kind("as it happens")

    with pytest.raises(kind):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == kept


def test_a_record_that_doesn_t_fit_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="status"), RunDirectory.create(tmp_path, ID) as directory:
        directory.write_record(record(status="done"))
    assert [path.name for path in tmp_path.iterdir()] == [f"{ID}.failed.log"]


def test_a_run_without_a_record_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no record"), RunDirectory.create(tmp_path, ID):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [f"{ID}.failed.log"]


def test_a_taken_id_gets_a_number(tmp_path: Path) -> None:
    assert [write_run(tmp_path).name for _ in range(3)] == [ID, f"{ID}-2", f"{ID}-3"]
    assert Run(tmp_path / f"{ID}-3").id == f"{ID}-3"


def two_latencies() -> pl.DataFrame:
    return pl.DataFrame({"query": [0, 1], "phase": "measured", "start_ns": [1, 2], "latency_ns": [5, 6], "samples": 1})


@pytest.mark.parametrize("kind", [ValueError, StorageError])
def test_what_was_measured_is_kept_whatever_fails_then(kind: type[Exception], tmp_path: Path) -> None:
    def fail(*, measured: bool) -> RunDirectory:
        with contextlib.suppress(kind), RunDirectory.create(tmp_path, ID) as directory, directory.scratch():
            if measured:
                directory.write_latencies(two_latencies())
            raise kind("as it happens")
        return directory

    kept = fail(measured=True)
    assert kept.kept_log == tmp_path / f"{ID}.failed" / "log.txt"
    assert {file.name for file in kept.kept_log.parent.iterdir()} == {"log.txt", "latencies.parquet"}
    assert pl.read_parquet(tmp_path / f"{ID}.failed" / "latencies.parquet")["latency_ns"].to_list() == [5, 6]
    assert scan(tmp_path) == ([], [])
    again = fail(measured=True)
    assert again.id == f"{ID}-2", "it takes no other failure's place"
    assert again.kept_log is not None
    assert kept.kept_log.is_file()


def test_an_interrupt_keeps_nothing(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), RunDirectory.create(tmp_path, ID) as directory:
        directory.write_latencies(two_latencies())
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_finished_while_another_chooses_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rivals = [ID]

    def claim_late(path: Path) -> int | None:
        if rivals:
            write_run(tmp_path, rivals.pop())
        return claim(path)

    monkeypatch.setattr("mlms.runs.directory.claim", claim_late)
    assert write_run(tmp_path).name == f"{ID}-2"
    assert sorted(path.name for path in tmp_path.iterdir()) == [ID, f"{ID}-2"]


def test_names_that_are_no_utf_8_are_written_out(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, ID) as directory:
        directory.write_predictions([{"sample": os.fsdecode(b"a\xff.png"), "classes": ["\udcff"]}])
        directory.write_record(record())
    assert pl.read_parquet(directory.path / "predictions.parquet").rows() == [("a\\udcff.png", ["\\udcff"])]


def test_a_killed_process_s_leftovers_don_t_disturb(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from mlms.runs.directory import RunDirectory\n"
        "with RunDirectory.create(Path(sys.argv[1]), sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path, ID], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / f".{ID}.partial").is_dir()
    assert write_run(tmp_path).name == f"{ID}-2"


def test_the_log_holds_what_mlms_logs_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("mlms.somewhere")
    monkeypatch.setattr(logging.getLogger("mlms"), "propagate", False)  # to pytest, which can't pass such text on
    level = logging.getLogger("mlms").level
    with RunDirectory.create(tmp_path, ID) as directory:
        logger.info("loaded %s \ud800", "weights")
        directory.write_record(record())
    logger.warning("too late")
    text = (tmp_path / ID / "log.txt").read_text("utf-8")
    assert "INFO mlms.somewhere: loaded weights \\ud800" in text
    assert "too late" not in text
    assert logging.getLogger("mlms").level == level


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_is_found_before_measuring(full_disk: Path) -> None:
    check_writable(full_disk)
    assert list(full_disk.iterdir()) == []
    fill(full_disk)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        check_writable(full_disk)
    assert "free some space" in str(caught.value)


def test_a_disk_that_fills_up_leaves_no_half_run(full_disk: Path) -> None:
    noise = list(os.urandom(400_000))
    rows = {"query": noise, "phase": "measured", "start_ns": noise, "latency_ns": noise, "samples": 1}
    write_run(full_disk, "first")
    with (
        pytest.raises(StorageError, match="No space left on device") as caught,
        RunDirectory.create(full_disk, ID) as directory,
    ):
        directory.write_latencies(pl.DataFrame(rows))
    assert "latencies.parquet" in str(caught.value)
    assert "free some space" in str(caught.value)
    assert [path.name for path in full_disk.iterdir()] == ["first"]


def test_a_report_that_doesn_t_fit_leaves_room_for_the_record(full_disk: Path) -> None:
    with RunDirectory.create(full_disk, ID) as directory:
        with pytest.raises(StorageError, match="No space left on device"):
            directory.write_report("x" * 400_000)
        directory.write_record(record())
    assert {file.name for file in (full_disk / ID).iterdir()} == {"log.txt", "run.json"}


def test_a_log_that_can_t_be_written_fails_the_run(full_disk: Path) -> None:
    def log_too_much() -> None:
        with RunDirectory.create(full_disk, ID) as directory:
            directory.write_record(record())
            fill(full_disk)
            logging.getLogger("mlms").info("x" * 100_000)

    with pytest.raises(StorageError, match="No space left on device"):
        log_too_much()
    assert [path.name for path in full_disk.iterdir()] == ["filling"]


def test_a_bound_on_file_sizes_is_reported(tmp_path: Path) -> None:
    """Needs no rights: the system refuses what is over RLIMIT_FSIZE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            check_writable(tmp_path)
        with pytest.raises(StorageError, match="File too large"), RunDirectory.create(tmp_path, ID) as directory:
            directory.write_record(record())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "below"])
def test_a_root_that_is_a_file(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't write here") as caught:
        check_writable(tmp_path / "file" / below)
    assert str(tmp_path / "file") in str(caught.value)
    assert "--output" in str(caught.value)
    with pytest.raises(StorageError, match="can't write here"), RunDirectory.create(tmp_path / "file" / below, ID):
        pytest.fail("the context must not be entered")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        check_writable(tmp_path)
