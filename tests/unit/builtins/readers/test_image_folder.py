from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from fakes.contexts import context, make
from mlms.builtins.readers import COMPONENTS
from mlms.errors import DataError
from mlms.hooks import Dataset, NamesClasses


def put_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path)


def put_images(root: Path, *names: str) -> None:
    for name in names:
        put_image(root / name)


def read(root: Path, labels: tuple[str, ...] | None = None, **options: str) -> Dataset:
    dataset: Dataset = make(COMPONENTS, "image_folder", options, context(root, labels))
    return dataset


def listed(dataset: Dataset) -> list[tuple[str, int | None]]:
    return [(dataset[index].id, dataset[index].target) for index in range(len(dataset))]


def test_directories_are_classes_and_files_may_be_nested(tmp_path: Path) -> None:
    put_images(tmp_path, "dog/2.png", "cat/b/1.JPG", "cat/a.webp", "dog/10.png")
    dataset = read(tmp_path)
    assert listed(dataset) == [("cat/a.webp", 0), ("cat/b/1.JPG", 0), ("dog/10.png", 1), ("dog/2.png", 1)]
    assert dataset[1].value == tmp_path / "cat/b/1.JPG"
    assert isinstance(dataset, Dataset)


def test_declared_labels_give_the_indices(tmp_path: Path) -> None:
    put_images(tmp_path, "dog/1.png", "cat/1.png")
    assert listed(read(tmp_path, ("fox", "dog", "cat"))) == [("cat/1.png", 2), ("dog/1.png", 1)]


def test_other_directory_names_count_in_sorted_order(tmp_path: Path) -> None:
    put_images(tmp_path, "n02/1.png", "n01/1.png")
    assert listed(read(tmp_path, ("tench", "goldfish"))) == [("n01/1.png", 0), ("n02/1.png", 1)]


def test_an_empty_class_directory_keeps_its_index(tmp_path: Path) -> None:
    put_images(tmp_path, "n02/1.png")
    (tmp_path / "n01").mkdir()
    assert listed(read(tmp_path, ("tench", "goldfish"))) == [("n02/1.png", 1)]


def test_directories_named_by_number_are_class_indices(tmp_path: Path) -> None:
    put_images(tmp_path, *(f"{number}/1.png" for number in range(12)))
    labels = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
    for declared in (labels, None):
        assert all(name == f"{target}/1.png" for name, target in listed(read(tmp_path, declared)))


def test_directories_named_by_padded_numbers_may_be_a_subset(tmp_path: Path) -> None:
    put_images(tmp_path, "007/1.png", "010/1.png")
    for declared in (tuple("abcdefghijkl"), None):
        assert listed(read(tmp_path, declared)) == [("007/1.png", 7), ("010/1.png", 10)]


def test_directories_named_by_numbers_out_of_range(tmp_path: Path) -> None:
    put_images(tmp_path, "1/1.png", "2/1.png", "3/1.png")
    with pytest.raises(DataError, match="there is no class 3") as caught:
        read(tmp_path, ("one", "two", "three"))
    assert caught.value.hint == "class indices go from 0 to 2"
    assert str(tmp_path / "3") in str(caught.value)


def test_directories_named_by_labels_that_are_numbers(tmp_path: Path) -> None:
    """A label that is declared is the nearest meaning of a directory's name."""
    put_images(tmp_path, "1/1.png", "2/1.png")
    assert listed(read(tmp_path, ("1", "2", "3"))) == [("1/1.png", 0), ("2/1.png", 1)]


def test_classes_that_nothing_but_their_order_numbers_are_told(tmp_path: Path) -> None:
    put_images(tmp_path / "words", "n02/1.png", "n01/1.png")
    put_images(tmp_path / "numbers", "1/1.png", "0/1.png")
    for name, classes in (("words", ("n01", "n02")), ("numbers", None)):
        dataset = read(tmp_path / name)
        assert isinstance(dataset, NamesClasses)
        assert dataset.classes == classes
    declared = read(tmp_path / "words", ("tench", "goldfish"))
    assert isinstance(declared, NamesClasses)
    assert declared.classes is None
    (tmp_path / "words" / "i.csv").write_text("file,label\nn02/1.png,zebra\nn01/1.png,zebra\n")
    indexed = read(tmp_path / "words", index="i.csv")
    assert isinstance(indexed, NamesClasses)
    assert indexed.classes == ("zebra",)


def test_directories_that_fit_no_labels(tmp_path: Path) -> None:
    put_images(tmp_path, "cat/1.png", "emu/1.png")
    with pytest.raises(DataError, match=r"2 class directories, but the dataset has 3 labels and 'emu'"):
        read(tmp_path, ("cat", "dog", "fox"))


def test_a_directory_named_by_a_label_of_two_classes(tmp_path: Path) -> None:
    put_images(tmp_path, "crane/1.png")
    with pytest.raises(DataError, match="'crane' stands for more than one class"):
        read(tmp_path, ("crane", "dog", "crane"))


def test_a_flat_folder_has_no_targets(tmp_path: Path) -> None:
    put_images(tmp_path, "b.png", "a.jpg")
    (tmp_path / "notes").mkdir()
    assert listed(read(tmp_path, ("x", "y"))) == [("a.jpg", None), ("b.png", None)]


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    put_images(tmp_path, "a.png", ".b.png", ".hidden/c.png")
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "a.eps").write_text("x")
    assert listed(read(tmp_path)) == [("a.png", None)]


def test_images_beside_class_directories(tmp_path: Path) -> None:
    put_images(tmp_path, "cat/1.png", "stray.png")
    with pytest.raises(DataError, match=r"'stray\.png' lies beside class directories"):
        read(tmp_path)


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    put_images(tmp_path / "elsewhere", "1.png")
    root = tmp_path / "root"
    put_images(root, "dog/1.png")
    (root / "cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "dog" / "loop").symlink_to(root, target_is_directory=True)
    assert listed(read(root)) == [("cat/1.png", 0), ("dog/1.png", 1)]


def test_two_links_to_one_directory_are_two_classes(tmp_path: Path) -> None:
    put_images(tmp_path, "cat/1.png")
    (tmp_path / "dog").symlink_to(tmp_path / "cat", target_is_directory=True)
    assert listed(read(tmp_path)) == [("cat/1.png", 0), ("dog/1.png", 1)]


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "none"])
def test_no_directory_with_images(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        make(COMPONENTS, "image_folder", {}, context(None if kind == "none" else tmp_path / kind))
    assert caught.value.hint is not None
    assert "--dataset-path" in caught.value.hint
    assert "$MLMS_DATA" in caught.value.hint
    assert kind == "none" or str(tmp_path / kind) in str(caught.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_an_unreadable_directory(tmp_path: Path) -> None:
    put_images(tmp_path, "cat/1.png")
    (tmp_path / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match="can't be read"):
            read(tmp_path)
    finally:
        (tmp_path / "cat").chmod(0o700)


def test_an_index_of_label_names_keeps_its_order(tmp_path: Path) -> None:
    put_images(tmp_path, "z.png", "in/a.png")
    (tmp_path / "labels.csv").write_text("file,label\nz.png,cat\nin/a.png,dog\n")
    assert listed(read(tmp_path, ("dog", "cat"), index="labels.csv")) == [("z.png", 1), ("in/a.png", 0)]
    assert listed(read(tmp_path, None, index="labels.csv")) == [("z.png", 0), ("in/a.png", 1)]


def test_an_index_of_class_indices(tmp_path: Path) -> None:
    put_images(tmp_path, "a.png", "b.png")
    (tmp_path / "i.csv").write_text("file,label\na.png,0\nb.png,2\n")
    assert listed(read(tmp_path, ("1", "2", "3"), index="i.csv")) == [("a.png", 0), ("b.png", 2)]
    assert listed(read(tmp_path, None, index="i.csv")) == [("a.png", 0), ("b.png", 2)]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("../secret.png,cat", "no path below"),
        ("/etc/secret.png,cat", "no path below"),
        ("..\\secret.png,cat", "no path below"),
        (",cat", "no path below"),
        ("missing.png,cat", "there is no file 'missing.png'"),
        ("a.png,emu", "'emu' is none of the dataset's 2 labels"),
        ("a.png,2", "'2' is none of the dataset's 2 labels"),
        ("ok.png,cat", "already on line 2"),
        ("a.png", "1 cells"),
    ],
)
def test_bad_rows_of_an_index_are_named_by_line(tmp_path: Path, row: str, problem: str) -> None:
    put_images(tmp_path, "a.png", "ok.png")
    put_image(tmp_path.parent / "secret.png")
    (tmp_path / "i.csv").write_text(f"file,label\nok.png,cat\n{row}\n")
    with pytest.raises(DataError, match=problem) as caught:
        read(tmp_path, ("cat", "dog"), index="i.csv")
    assert f"{tmp_path / 'i.csv'}:3" in str(caught.value)


@pytest.mark.parametrize(("label", "last"), [("2", " to 1"), ("-1", " to 1")])
def test_an_index_that_is_no_class(tmp_path: Path, label: str, last: str) -> None:
    put_images(tmp_path, "a.png")
    (tmp_path / "i.csv").write_text(f"file,label\na.png,{label}\n")
    with pytest.raises(DataError, match=f"there is no class {label}") as caught:
        read(tmp_path, ("cat", "dog"), index="i.csv")
    assert caught.value.hint == f"class indices go from 0{last}"


@pytest.mark.parametrize("index", ["../i.csv", "missing.csv", "i.txt"])
def test_a_bad_index(tmp_path: Path, index: str) -> None:
    (tmp_path / "i.txt").write_text("file,label\n")
    with pytest.raises(DataError):
        read(tmp_path, index=index)


def test_an_index_without_the_column(tmp_path: Path) -> None:
    put_images(tmp_path, "a.png")
    (tmp_path / "i.csv").write_text("file,class\na.png,0\n")
    with pytest.raises(DataError, match="no column 'label'") as caught:
        read(tmp_path, index="i.csv")
    assert caught.value.hint == "the columns here are: file, class"
