import os
import stat
import threading
from pathlib import Path

import pytest

from mlms.errors import StorageError
from mlms.storage import whole_file


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250)
    with whole_file(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == {target.name}


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "trace"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), whole_file(target) as file:  # noqa: PT012
        file.write(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == {"trace"}


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "trace"
    with whole_file(target) as first, whole_file(target) as second:
        first.write(b"first")
        second.write(b"second")
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == {"trace"}


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to("file")
    file.write_bytes(b"old")
    file.chmod(0o640)
    with whole_file(link) as written:
        written.write(b"new")
    assert link.is_symlink()
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with whole_file(pipe) as file:
        file.write(b"new")
    reader.join()
    assert got == [b"new"]
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_device_is_written_into(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="link: can't write here: No space left"), whole_file(link) as file:
        file.write(b"new")
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("place", ["absent/trace", "file/trace", "folder"])
def test_a_place_that_can_t_be_is_told_by_the_name_that_was_given(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=f"{place}: can't write here"), whole_file(tmp_path / place):
        pass
    assert names(tmp_path) == {"file", "folder"}
