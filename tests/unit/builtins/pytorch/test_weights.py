from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mlms.errors import InputError

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402 (after importorskip)

from fakes.torch_factories import Named, Versioned, linear  # noqa: E402
from mlms.builtins.pytorch.weights import load_weights  # noqa: E402


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_state_dicts_of_torch_save(tmp_path: Path, wrapper: str | None, legacy: bool) -> None:
    source, target = linear(), linear()
    state = source.state_dict()
    content = {wrapper: state, "epoch": 3} if wrapper else state
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
    load_weights(target, tmp_path / "net.pth")
    assert same(source, target)


def test_safetensors(tmp_path: Path) -> None:
    source, target = linear(), linear()
    save_file(source.state_dict(), tmp_path / "net.safetensors")
    load_weights(target, tmp_path / "net.safetensors")
    assert same(source, target)


def test_the_prefix_of_data_parallel_goes(tmp_path: Path) -> None:
    source, target = linear(), linear()
    torch.save({f"module.{key}": value for key, value in source.state_dict().items()}, tmp_path / "net.pth")
    load_weights(target, tmp_path / "net.pth")
    assert same(source, target)


def test_the_version_in_the_state_dict_is_kept(tmp_path: Path) -> None:
    torch.save(Versioned().state_dict(), tmp_path / "net.pth")
    load_weights(Versioned(), tmp_path / "net.pth")


def test_dots_in_module_names_of_old_checkpoints(tmp_path: Path) -> None:
    source, target = Named(), Named()
    torch.nn.init.normal_(source.norm1.weight)
    state = {key.replace("norm1", "norm.1"): value for key, value in source.state_dict().items()}
    # BatchNorm had no such counter then.
    del state["norm.1.num_batches_tracked"]
    torch.save(state, tmp_path / "net.pth")
    load_weights(target, tmp_path / "net.pth")
    assert same(source, target)


def test_missing_and_unexpected_keys(tmp_path: Path) -> None:
    state = linear().state_dict()
    state["classifier.weight"] = state.pop("head.weight")
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(InputError) as caught:
        load_weights(linear(), tmp_path / "net.pth")
    assert "1 missing (head.weight); 1 unexpected (classifier.weight)" in caught.value.message
    assert str(tmp_path / "net.pth") in caught.value.message


def test_other_shapes(tmp_path: Path) -> None:
    torch.save(linear(outputs=10).state_dict(), tmp_path / "net.pth")
    with pytest.raises(InputError) as caught:
        load_weights(linear(outputs=3), tmp_path / "net.pth")
    expected = "2 of another shape (head.bias (10,) instead of (3,), head.weight (10, 5) instead of (3, 5))"
    assert expected in caught.value.message
    assert "classes" in str(caught.value.hint)


def test_long_lists_are_cut(tmp_path: Path) -> None:
    torch.save({f"layer{index}": torch.zeros(1) for index in range(9)}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"4 missing .* and 1 more\); 9 unexpected .* and 6 more"):
        load_weights(linear(), tmp_path / "net.pth")


class Exploit:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploited",)


def test_pickled_code_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Exploit()}, tmp_path / "net.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Exploit(), protocol=2))
    for name in ("net.pth", "plain.pth"):
        with pytest.raises(InputError, match="can't be read") as caught:
            load_weights(linear(), tmp_path / name)
        assert "no pickled code" in str(caught.value.hint)
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", None, "cut"])
def test_files_that_are_no_weights(tmp_path: Path, name: str, content: bytes | str | None) -> None:
    path = tmp_path / name
    if content == "cut":
        if name.endswith(".pth"):
            torch.save(linear().state_dict(), path)
        else:
            save_file(linear().state_dict(), path)
        path.write_bytes(path.read_bytes()[:-100])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match="can't be read"):
        load_weights(linear(), path)


@pytest.mark.parametrize("pickled", [b"0.", b"h\x05.", b"g1\n.", b"\x80\x02c\n\nq.", b"\x80\x02}s."])
def test_damaged_pickles(tmp_path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "zipped.pth", "w") as file:
        file.writestr("a/data.pkl", pickled)
        file.writestr("a/version", "3")
    (tmp_path / "plain.pth").write_bytes(pickled)
    for name in ("zipped.pth", "plain.pth"):
        with pytest.raises(InputError, match="can't be read") as caught:
            load_weights(linear(), tmp_path / name)
        assert "weights_only" not in str(caught.value)


def test_what_holds_more_than_tensors_comes_without_advice_to_run_it(tmp_path: Path) -> None:
    torch.save(Named(), tmp_path / "net.pth")
    (tmp_path / "noise.pth").write_bytes(b"no weights at all, but a text that is long enough")
    for name in ("net.pth", "noise.pth"):
        with pytest.raises(InputError, match=r"can't be read: it is no file of torch\.save's, or holds more") as caught:
            load_weights(linear(), tmp_path / name)
        assert "weights_only" not in str(caught.value)


def test_complex_weights_do_not_lose_a_part(tmp_path: Path) -> None:
    state = {key: value.to(torch.complex64) for key, value in linear().state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"4 are complex numbers, .* \(body\.weight, "):
        load_weights(linear(), tmp_path / "net.pth")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], torch.zeros(3), {1: torch.zeros(3)}])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(InputError, match="hold no state dict"):
        load_weights(linear(), tmp_path / "net.pth")
