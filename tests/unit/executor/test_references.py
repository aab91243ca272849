from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.model_assets import torch_model
from mlms import api
from mlms.errors import InputError, VersionError
from mlms.executor.references import dataset_problems, framework_problems, installed_version, model_problems
from mlms.manifests.types import DatasetAsset, FrameworkAsset, Requirement, Step

PYTORCH = FrameworkAsset("pytorch", "1.0.0", None, component="pytorch", distribution="numpy")
NUMPY = importlib.metadata.version("numpy")


def test_a_good_model_has_no_problems() -> None:
    model = replace(torch_model("linear"), preprocess=(Step("resize", {"size": 8}),))
    assert list(model_problems(model, api.load_plugins())) == []


def test_all_problems_of_a_model_are_found_at_once() -> None:
    model = replace(
        torch_model("linear"),
        task="image_clasification",
        preprocess=(Step("resise"), Step("resize", {"sise": 8})),
        postprocess=(Step("softmax", {"axis": 1}),),
    )
    problems = list(model_problems(model, api.load_plugins()))
    assert [problem.path.split(".")[0].split("[")[0] for problem in problems][:2] == ["task", "preprocess"]
    text = "\n".join(map(str, problems))
    for shown in ("image_clasification", "image_classification", "resise", "sise", "size", "axis"):
        assert shown in text


def test_options_of_a_framework_are_checked() -> None:
    assert list(framework_problems(PYTORCH, {"channels_last": True}, api.load_plugins())) == []
    (problem,) = framework_problems(PYTORCH, {"channels_last": "yes"}, api.load_plugins())
    assert "channels_last" in str(problem)
    (unknown,) = framework_problems(replace(PYTORCH, component="pytorhc"), {}, api.load_plugins())
    assert unknown.hint == "did you mean pytorch?"


def test_a_reader_that_nobody_offers() -> None:
    dataset = DatasetAsset("data", "1.0.0", None, task=None, reader=Step("image_foldr"), path=None)
    (problem,) = dataset_problems(dataset, api.load_plugins())
    assert "image_folder" in str(problem)


@pytest.mark.parametrize("wanted", ["", ">=1", f"=={NUMPY}", ">=1,<99"])
def test_versions_that_fit(wanted: str) -> None:
    assert installed_version(PYTORCH, Requirement("pytorch", wanted), None) == NUMPY


def test_versions_that_do_not(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text("kind: model\nframework: {name: pytorch, version: '>=99'}\n")
    with pytest.raises(VersionError, match=f"wants numpy>=99, but {NUMPY} is installed") as caught:
        installed_version(PYTORCH, Requirement("pytorch", ">=99"), file)
    assert caught.value.hint == "pip install 'numpy>=99'"
    assert str(caught.value).startswith(f"{file}:2:")
    with pytest.raises(InputError, match="'newest' is not a version specifier"):
        installed_version(PYTORCH, Requirement("pytorch", "newest"), None)
    with pytest.raises(InputError, match="no-such-dist"):
        installed_version(replace(PYTORCH, distribution="no-such-dist"), Requirement("pytorch"), None)
