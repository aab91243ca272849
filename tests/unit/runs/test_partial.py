import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from mlms.runs.partial import claim, failed_log, partial, remove_abandoned

DIES = """\
import os, signal, sys; from pathlib import Path; from mlms.runs.partial import claim
path = Path(sys.argv[1]); claim(path); (path / "log.txt").write_text("so far so good")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_dead_process_s_directory_goes_and_its_log_stays(tmp_path: Path) -> None:
    path = partial(tmp_path / "run-1")
    assert subprocess.run([sys.executable, "-c", DIES, path], check=False).returncode == -signal.SIGKILL
    assert path.is_dir()
    assert remove_abandoned(tmp_path) == [failed_log(tmp_path / "run-1")]
    assert [file.name for file in tmp_path.iterdir()] == ["run-1.failed.log"]
    assert (tmp_path / "run-1.failed.log").read_text() == "so far so good"


MEASURED = """\
import os, signal, sys; from pathlib import Path; from mlms.runs.partial import claim
path = Path(sys.argv[1]); claim(path); (path / "log.txt").touch(); (path / "latencies.parquet").touch()
(path / ".scratch-1").mkdir(); os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_dead_process_s_measurement_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", MEASURED, partial(tmp_path / "run-1")], check=False)
    assert remove_abandoned(tmp_path) == [tmp_path / "run-1.failed" / "log.txt"]
    assert [file.name for file in tmp_path.iterdir()] == ["run-1.failed"]
    assert {file.name for file in (tmp_path / "run-1.failed").iterdir()} == {"log.txt", "latencies.parquet"}


def test_logs_need_not_be_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, partial(tmp_path / "run-1")], check=False)
    assert remove_abandoned(tmp_path, keep_any=False) == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    lock = claim(tmp_path / ".run-1.partial")
    assert lock is not None
    assert claim(tmp_path / ".run-1.partial") is None
    assert remove_abandoned(tmp_path) == []
    assert (tmp_path / ".run-1.partial").is_dir()
    os.close(lock)
    assert remove_abandoned(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_removed_before_it_could_be_locked_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / ".run-1.partial"
    program = (
        "import sys; from pathlib import Path; from mlms.runs.partial import claim\n"
        "Path.mkdir = lambda self, made=Path.mkdir: (made(self), print('made', flush=True), input())[0]\n"
        "claim(Path(sys.argv[1])); print('locked', flush=True); input()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, path], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "made\n"
        remove_abandoned(tmp_path)
        assert not path.exists()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "made\n"
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "locked\n"
        remove_abandoned(tmp_path)
        assert path.is_dir()
        held = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            raise AssertionError("nobody holds the lock")
        finally:
            os.close(held)
        other.stdin.write("\n")
