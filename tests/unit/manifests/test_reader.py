import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlms.errors import DocumentError, StorageError
from mlms.manifests import reader, yaml12
from mlms.manifests.reader import parse_document, place_of, read_document
from mlms.manifests.schema import check
from mlms.manifests.yaml12 import load


def message(text):
    with pytest.raises(DocumentError) as caught:
        parse_document(text)
    return str(caught.value)


def test_read_document(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: caf\xc3\xa9\n")
    document = read_document(path)
    assert document.data == {"name": "café"}
    assert document.path == path
    assert document.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        read_document(tmp_path / "none.yaml")
    with pytest.raises(StorageError, match="directory"):
        read_document(tmp_path)


def test_not_utf8_gives_the_byte_and_its_place(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(DocumentError, match="0xff") as caught:
        read_document(path)
    place = caught.value.problems[0].place
    assert (place.file, place.line, place.column) == (path, 2, 4)


def test_text_that_is_not_unicode_is_refused():
    assert "not UTF-8" in message("a: \ud800")


def test_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "MAX_BYTES", 2**20)
    path = tmp_path / "a.yaml"
    path.write_text("a: " + "x" * 2**20)
    with pytest.raises(DocumentError, match="larger than 1 MiB"):
        read_document(path)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null"])
def test_empty_documents(text):
    assert "empty" in message(text)


@pytest.mark.parametrize("text", ["[a]", "word", "8"])
def test_documents_that_are_no_mapping(text):
    assert "must be a mapping" in message(text)


def test_place_of_values_keys_and_the_nearest_thing_around(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("# comment\na:\n  b: [1, 22, 3]\n")
    assert str(place_of(path, ("a", "b", 1))) == f"{path}:3:10"
    assert str(place_of(path, ("a", "b"), key=True)) == f"{path}:3:3"
    assert str(place_of(path, ("a", "nothing", "here"))) == f"{path}:3:3"
    assert str(place_of(path, ("zzz",), key=True)) == f"{path}:2:1"
    path.unlink()
    assert str(place_of(path, ("a",))) == str(path)


def test_a_thousand_problems_are_placed_by_reading_once_more(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("kind: manifest\nname: a\n" + "".join(f"key{number}: 1\n" for number in range(1200)))
    document, inline = read_document(path), parse_document(path.read_text() + "# inline\n")
    loads = []
    monkeypatch.setattr(yaml12, "load", lambda *arguments: loads.append(arguments) or load(*arguments))
    for checked in (document, inline):
        loads.clear()
        with pytest.raises(DocumentError) as caught:
            check(checked)
        assert len(loads) == 1
        assert [problem.place.line for problem in caught.value.problems[-2:]] == [1201, 1202]
        shown = str(caught.value).splitlines()
        assert len(shown) < 50
        assert shown[-1] == f"... and {len(caught.value.problems) - 20} more problems"
    path.write_text("# one line more\n" + path.read_text())
    assert place_of(path, ("name",)).line == 3


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(DocumentError, match="the document is empty"):
        read_document(tmp_path / "pipe.yaml")
    assert str(place_of(tmp_path / "pipe.yaml", ("a",))) == str(tmp_path / "pipe.yaml")


def test_what_comes_through_a_pipe_is_read_to_its_end(tmp_path):
    reading, writing = os.pipe()
    text = f"a: {'x' * 2**20}\n"

    def write():
        time.sleep(0.2)
        with os.fdopen(writing, "w") as file:
            file.write(text)

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        assert read_document(Path(f"/dev/fd/{reading}")).data == {"a": "x" * 2**20}
        written.result()
    os.close(reading)


def test_place_in_text_without_a_file():
    document = parse_document("a:\n  b: 1\n", "the manifest")
    assert str(document.place(("a", "b"))) == "the manifest:2:6"
