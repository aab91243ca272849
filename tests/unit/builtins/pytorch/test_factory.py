from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlms.errors import InputError, ModelError, OutOfMemoryError

torch = pytest.importorskip("torch")
from fakes.model_assets import torch_model  # noqa: E402 (after importorskip)
from fakes.weights_server import WeightsServer  # noqa: E402
from mlms.builtins.pytorch.factory import build  # noqa: E402

PACKAGES = ["fakes.torch_factories"]


def test_the_seed_decides_the_weights_and_nothing_else_changes() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build(torch_model("linear", seed=seed), PACKAGES).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    for key in first:
        assert torch.equal(first[key], again[key])
        assert not torch.equal(first[key], other[key])


def test_arguments_reach_the_factory() -> None:
    assert build(torch_model("linear", {"outputs": 7}), PACKAGES).head.out_features == 7


@pytest.mark.parametrize(
    ("packages", "allowed"),
    [
        (["fakes"], True),
        (["torchvision.models", "fakes.torch_factories"], True),
        (["fakes.torch"], False),
        (["fakes.torch_factories.more"], False),
        (["akes"], False),
        ([""], False),
        ([], False),
    ],
)
def test_packages_are_dotted_prefixes(packages: list[str], allowed: bool) -> None:
    if allowed:
        assert build(torch_model("linear"), packages)
    else:
        with pytest.raises(InputError, match="doesn't allow") as caught:
            build(torch_model("linear"), packages)
        assert (", ".join(packages) or "none") in caught.value.message


@pytest.mark.parametrize("way", ["from_hub", "from_url", "to_file"])
def test_a_factory_gets_nothing_past_mlms(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept = tmp_path / "hub" / "checkpoints" / "net.pth"  # what was downloaded before doesn't count either
    kept.parent.mkdir(parents=True)
    torch.save({}, kept)
    with WeightsServer() as server:
        url, _ = server.put("/net.pth", kept.read_bytes())
        arguments = {"way": way, "url": url, "file": str(tmp_path / "file")}
        with pytest.raises(InputError, match=r"downloading wants weights of its own from torch\.hub") as caught:
            build(torch_model("downloading", arguments), PACKAGES)
        assert "source.weights" in str(caught.value.hint)
        assert server.requests == []
        torch.hub.download_url_to_file(url, str(tmp_path / "file"), progress=False)  # afterwards it is as it was
        assert torch.hub.get_dir() == str(tmp_path / "hub")


def test_pretrained_models_of_torchvision_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name, arguments in (("resnet18", {"weights": "DEFAULT"}), ("segmentation.fcn_resnet50", {})):
        with pytest.raises(InputError, match="past mlms"):
            build(torch_model(f"torchvision.models:{name}", arguments), ["torchvision.models"])


@pytest.mark.parametrize("name", ["os:getcwd", "fakes.torch_factories:getcwd", "fakes.torch_factories:torch.load"])
def test_what_a_module_only_imports_is_not_allowed(name: str) -> None:
    with pytest.raises(InputError, match="doesn't allow"):
        build(torch_model(name), PACKAGES)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("fakes.torch_factories:linaer", "no callable 'linaer'", "fakes.torch_factories:linear"),
        ("fakes.torch_factories:NUMBER", "no callable", "NUMBER"),
        ("fakes.torch_factories:", "no callable ''", "module:attribute"),
        ("fakes.torch_factories", "no callable ''", "module:attribute"),
        ("fakes.torch_factories.none:net", "can't be imported", "install"),
    ],
)
def test_names_that_lead_nowhere(name: str, message: str, hint: str) -> None:
    model = torch_model(name if ":" in name else f"{name}:")
    with pytest.raises(InputError, match=message) as caught:
        build(model, PACKAGES)
    assert hint in str(caught.value.hint)


def test_a_factory_that_raises() -> None:
    with pytest.raises(ModelError, match=r"'net' raised RuntimeError while building .*: no such backbone") as caught:
        build(torch_model("raising"), PACKAGES)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_factory_without_memory() -> None:
    with pytest.raises(OutOfMemoryError, match="while building it") as caught:
        build(torch_model("huge"), PACKAGES)
    assert "smaller model" in str(caught.value.hint)


def test_a_factory_that_gives_no_module() -> None:
    with pytest.raises(InputError, match="gives a NoneType"):
        build(torch_model("nothing"), PACKAGES)


def test_the_digits_network_takes_8_by_8_images() -> None:
    module = build(torch_model("mlms.builtins.pytorch.models:digits_cnn"), ["mlms.builtins.pytorch.models"])
    logits = module(torch.from_numpy(np.zeros((2, 1, 8, 8), np.float32)))
    assert logits.shape == (2, 10)
