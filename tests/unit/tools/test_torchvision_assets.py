from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
MODELS = sorted((ROOT / "assets" / "models" / "torchvision").glob("*.yaml"))


def documents() -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in MODELS]


@pytest.mark.slow
def test_the_generated_files_are_current() -> None:
    pytest.importorskip("torchvision")
    command = [sys.executable, str(ROOT / "tools" / "generate_torchvision_assets.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_stale_files_are_named_then_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchvision")
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(MODELS[0].parent, tmp_path / "assets" / "models" / "torchvision")
    shutil.copytree(ROOT / "assets" / "labels", tmp_path / "assets" / "labels")
    models = tmp_path / "assets" / "models" / "torchvision"
    (models / "alexnet.yaml").write_text("name: alexnet\n")
    (models / "extra.yaml").write_text("name: extra\n")
    (models / "resnet18.yaml").unlink()

    def run(*arguments: str) -> tuple[int, list[str]]:
        tool = str(tmp_path / "tools" / "generate_torchvision_assets.py")
        monkeypatch.setattr(sys, "argv", [tool, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(tool, run_name="__main__")
        return int(ended.value.code or 0), capsys.readouterr().out.replace("\\", "/").splitlines()

    folder = "assets/models/torchvision"
    stale = [f"stale: {folder}/{name}.yaml" for name in ("alexnet", "extra", "resnet18")]
    assert run("--check") == (1, stale)
    assert (models / "extra.yaml").exists()
    mended = [("written", "alexnet"), ("removed", "extra"), ("written", "resnet18")]
    assert run() == (0, [f"{done}: {folder}/{name}.yaml" for done, name in mended])
    assert {path.name: path.read_bytes() for path in models.iterdir()} == {
        path.name: path.read_bytes() for path in MODELS
    }


def test_every_model_says_what_a_run_needs() -> None:
    labels = (ROOT / "assets" / "labels" / "imagenet-1k.txt").read_text(encoding="utf-8").splitlines()
    assert len(labels) == len(set(labels)) == 1000
    found = documents()
    assert {document["name"] for document in found} == {path.stem for path in MODELS}
    assert len(found) >= 80
    for document in found:
        weights = document["source"]["weights"]
        assert isinstance(weights["sha256"], str)
        assert f"-{weights['sha256']}.pth" in weights["url"]
        crop = next(step["center_crop"]["size"] for step in document["preprocess"] if "center_crop" in step)
        assert document["input"] == [{"name": "image", "dtype": "float32", "shape": [3, crop, crop]}]
        assert [figure["metric"] for figure in document["published"]] == ["top1", "top5"]
        assert all(50 < figure["value"] < 100 for figure in document["published"])
        assert document["license"] == ("CC-BY-NC-4.0" if "swag" in weights["url"] else "BSD-3-Clause")


@pytest.mark.slow
def test_the_arguments_build_what_torchvision_builds_for_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the weights' bytes: what module does torchvision's builder load them into, and what do we build?"""
    models = pytest.importorskip("torchvision.models")
    from torch import nn
    from torchvision.models import WeightsEnum

    register = nn.Module.register_parameter

    def register_on_meta(module: Any, name: str, parameter: Any) -> None:
        # No memory is taken, so that models of gigabytes are built at once.
        register(module, name, None if parameter is None else nn.Parameter(parameter.to("meta")))

    def shape(module: Any) -> dict[str, Any]:
        keys = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        return keys | {"transform_input": getattr(module, "transform_input", None)}

    loaded: list[dict[str, Any]] = []
    monkeypatch.setattr(nn.Module, "register_parameter", register_on_meta)
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda module, *_: loaded.append(shape(module)))
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: {})
    for document in documents():
        name, arguments = document["name"], document["source"]["arguments"]
        models.get_model(name, weights="DEFAULT")
        assert shape(models.get_model(name, **arguments)) == loaded.pop(), name
