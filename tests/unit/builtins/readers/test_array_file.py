from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fakes.contexts import context, make
from mlms.builtins.readers import COMPONENTS
from mlms.errors import DataError
from mlms.hooks import Dataset

IMAGES = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
LABELS = np.array([2, 0, 1], dtype=np.int64)


def write(path: Path, **arrays: np.ndarray) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    else:
        save_file(arrays, path)
    return path


def read(path: Path, labels: tuple[str, ...] | None = None, **options: str) -> Dataset:
    dataset: Dataset = make(COMPONENTS, "array_file", options, context(path, labels))
    return dataset


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
def test_samples_run_along_the_first_axis(tmp_path: Path, name: str) -> None:
    dataset = read(write(tmp_path / name, x=IMAGES, y=LABELS), ("a", "b", "c"), values="x", targets="y")
    assert len(dataset) == 3
    assert dataset[1].id == "1"
    assert np.array_equal(dataset[1].value, IMAGES[1])
    assert dataset[1].value.dtype == np.uint8
    assert [sample.target for sample in (dataset[0], dataset[1], dataset[2])] == [2, 0, 1]
    assert type(dataset[0].target) is int
    with pytest.raises(IndexError):
        dataset[3]


def test_without_targets(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.npz", x=IMAGES), values="x")[0].target is None


def test_targets_may_be_arrays(tmp_path: Path) -> None:
    dataset = read(write(tmp_path / "a.npz", x=IMAGES, y=np.ones((3, 2))), values="x", targets="y")
    assert np.array_equal(dataset[2].target, [1, 1])


def test_a_sample_can_not_be_changed(tmp_path: Path) -> None:
    value = read(write(tmp_path / "a.npz", x=IMAGES), values="x")[0].value
    with pytest.raises(ValueError, match="read-only"):
        value[0] = 1


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
def test_a_missing_array_is_named_with_those_there_are(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, x=IMAGES, y=LABELS)
    with pytest.raises(DataError, match="there is no array 'images'") as caught:
        read(path, values="images")
    assert caught.value.hint == "the arrays here are: x, y"
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a.npz", "a.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_file(tmp_path: Path, name: str, damage: str) -> None:
    path = write(tmp_path / name, x=IMAGES)
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "noise": b"not an array" * 9, "empty": b""}[damage])
    with pytest.raises(DataError, match="can't be read") as caught:
        read(path, values="x")
    assert str(path) in str(caught.value)


def test_a_flipped_bit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", x=IMAGES)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError):
        read(path, values="x")


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="can't be read"):
        read(path, values="x")


def header(text: str) -> bytes:
    """A .npy file of that header and no more."""
    line = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


@pytest.mark.parametrize(
    "described",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 30 + ",)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000000000000,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}",
        "nonsense(",
    ],
)
def test_a_damaged_header(tmp_path: Path, described: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", header(described))
    with pytest.raises(DataError, match=r"a\.npz: the file can't be read: ."):
        read(tmp_path / "a.npz", values="x")


@pytest.mark.parametrize(("offset", "value"), [(8, 99), (6, 1)], ids=["compression", "encrypted"])
def test_a_zip_file_that_can_not_be_unpacked(tmp_path: Path, offset: int, value: int) -> None:
    path = write(tmp_path / "a.npz", x=IMAGES)
    content = bytearray(path.read_bytes())
    for start in (0, content.index(b"PK\x01\x02") + 2):  # the local header, and the directory's
        content[start + offset] = value
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: the file can't be read: ."):
        read(path, values="x")


def test_an_array_without_a_name(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, IMAGES)
    with pytest.raises(DataError, match="one array without a name") as caught:
        read(tmp_path / "a.npz", values="x")
    assert "savez" in str(caught.value.hint)


def test_lengths_that_differ(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", x=IMAGES, y=LABELS[:2])
    with pytest.raises(DataError, match=r"\(3, 2, 4\) and \(2,\)"):
        read(path, values="x", targets="y")


@pytest.mark.parametrize("values", [np.zeros((0, 3)), np.array(1.0)])
def test_no_samples(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(DataError, match="holds no samples"):
        read(write(tmp_path / "a.npz", x=values), values="x")


@pytest.mark.parametrize("targets", [LABELS, LABELS - 1])
def test_targets_outside_the_labels(tmp_path: Path, targets: np.ndarray) -> None:
    path = write(tmp_path / "a.npz", x=IMAGES, y=targets)
    with pytest.raises(DataError, match=rf"from {targets.min()} to {targets.max()}, but dataset 'data' has 2 labels"):
        read(path, ("a", "b"), values="x", targets="y")


def test_another_format(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"x")
    with pytest.raises(DataError, match="no array format") as caught:
        read(tmp_path / "a.pkl", values="x")
    assert caught.value.hint == "use .npz or .safetensors"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "a.npz", values="x")
