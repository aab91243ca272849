import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlms.errors import DocumentError, InputError, StorageError, UnknownNameError, VersionError
from mlms.manifests import catalog as module
from mlms.manifests import folder
from mlms.manifests.catalog import Catalog, search_path, shipped_assets
from mlms.manifests.names import precedence
from mlms.manifests.places import cache_folder
from mlms.manifests.types import Requirement, Step

MODEL = """\
kind: model
name: {name}
version: {version}
task: image_classification
framework: {{name: pytorch, version: ">=2"}}
tags: [small]
source:
  factory: torchvision.models:alexnet
  weights: {{{weights}}}
input:
  - {{name: image, dtype: float32, shape: [3, null, 8]}}
preprocess: [decode, {{resize: {{size: 8}}}}]
"""
DATASET = "kind: dataset\nname: {name}\nreader: {{image_folder: {{}}}}\npath: {path}\nlabels: {labels}\n"


def model(name="net", version="1.0.0", weights="random: {}"):
    return MODEL.format(name=name, version=version, weights=weights)


def dataset(name="data", path="images", labels="[a, b]"):
    return DATASET.format(name=name, path=path, labels=labels)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MLMS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLMS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("MLMS_ASSETS", raising=False)
    (tmp_path / "assets").mkdir()
    return tmp_path / "assets"


def write(path, text):
    """A file written some time ago, so that it counts as settled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(time.time_ns(), time.time_ns() - 10**9))
    return path


def test_a_model_as_typed_data(root):
    path = write(root / "models" / "net.yaml", model())
    asset = Catalog([root]).model("net")
    assert (asset.name, asset.version, asset.file, asset.tags) == ("net", "1.0.0", path, ("small",))
    assert asset.framework == Requirement("pytorch", ">=2")
    assert asset.preprocess == (Step("decode"), Step("resize", {"size": 8}))
    assert asset.input[0].shape == (3, None, 8)
    assert asset.source.weights.random
    assert asset.source.weights.seed == 0


def test_entries_by_kind_name_and_version(root):
    for version in ("1.10.0", "1.2.0", "1.10.0-rc.1"):
        write(root / f"{version}.yaml", model(version=version))
    write(root / "f.yml", "kind: framework\nname: pytorch\ncomponent: pytorch\ndistribution: torch\n")
    catalog = Catalog([root])
    assert [e.version for e in catalog.entries("model")] == ["1.2.0", "1.10.0-rc.1", "1.10.0"]
    assert [e.kind for e in catalog.entries()] == ["model"] * 3 + ["framework"]
    entry = catalog.entries("model")[0]
    assert (entry.task, entry.framework, entry.tags) == ("image_classification", "pytorch", ("small",))
    assert catalog.model("net").version == "1.10.0"
    assert catalog.model("net@1.2.0").version == "1.2.0"
    assert catalog.framework("pytorch").distribution == "torch"


def test_unknown_names_and_versions(root):
    write(root / "a.yaml", model("resnet18"))
    write(root / "b.yaml", model("resnet18", "2.0.0"))
    catalog = Catalog([root])
    with pytest.raises(UnknownNameError) as caught:
        catalog.model("resnet81")
    assert caught.value.hint == "did you mean 'resnet18'?"
    with pytest.raises(UnknownNameError) as caught:
        catalog.model("zzz")
    assert caught.value.hint == "there are resnet18"
    with pytest.raises(VersionError) as caught:
        catalog.model("resnet18@3.0.0")
    assert caught.value.hint == "these versions exist: 1.0.0, 2.0.0"
    with pytest.raises(UnknownNameError, match="no dataset 'resnet18'"):
        catalog.dataset("resnet18")


def test_files_come_change_and_go_while_a_catalog_lives(root):
    catalog = Catalog([root, root.parent / "later"])
    assert catalog.entries() == ()
    path = root / "deep" / "er" / "net.yaml"
    path.parent.mkdir(parents=True)
    for version in ("1.0.0", "2.0.0", "3.0.0"):  # of one size, as fast as can be
        path.write_text(model(version=version))
        assert catalog.model("net").version == version
    write(root.parent / "later" / "other.yaml", model("other"))
    assert catalog.model("other").name == "other"
    path.unlink()
    with pytest.raises(UnknownNameError):
        catalog.model("net")


def test_two_assets_of_one_name_and_version_name_both_files(root):
    first = write(root / "a.yaml", model())
    second = write(root / "b.yaml", "# comment\n" + model())
    write(root / "c.yaml", model("other"))
    catalog = Catalog([root])
    with pytest.raises(DocumentError) as caught:
        catalog.model("net")
    assert f"{first}:2:7" in str(caught.value)
    assert f"{second}:3:7" in str(caught.value)
    assert [str(problem) for problem in catalog.problems()] == [str(caught.value)]
    assert catalog.model("other").name == "other"


def test_a_folder_inside_another_one_counts_once(root):
    write(root / "models" / "net.yaml", model())
    catalog = Catalog([root, root / "models", root / ".." / "assets"])
    assert len(catalog.entries()) == 1
    assert catalog.problems() == ()


def test_one_broken_file_hides_no_other_and_gives_its_own_error(root):
    write(root / "good.yaml", model("good"))
    write(root / "syntax.yaml", "kind: [")
    write(root / "schema.yaml", model("schemaless").replace("task:", "taks:"))
    write(root / "manifest.yaml", "kind: manifest\nname: m\nmodel: good\ndataset: synthetic\n")
    catalog = Catalog([root])
    assert [e.name for e in catalog.entries()] == ["good"]
    assert len(catalog.problems()) == 3
    with pytest.raises(DocumentError, match="did you mean 'task'"):
        catalog.model("schemaless")
    with pytest.raises(DocumentError, match=r"syntax\.yaml:2:1: a value or a closing bracket"):
        catalog.model("syntax")
    with pytest.raises(UnknownNameError):
        catalog.model("none")
    write(root / "newer.yaml", model("schemaless", "2.0.0"))
    assert catalog.model("schemaless@2.0.0").version == "2.0.0"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_problem(root):
    write(root / "a.yaml", model()).chmod(0)
    assert "can't be read" in str(Catalog([root]).problems()[0])


def test_data_labels_and_hidden_folders_hold_no_assets(root):
    for name in ("data", "labels", ".git"):
        write(root / name / "x.yaml", "not: an asset")
    assert Catalog([root]).problems() == ()


def test_a_pipe_is_no_asset_and_is_not_waited_for(root):
    os.mkfifo(root / "pipe.yaml")
    (root / "link.yaml").symlink_to("pipe.yaml")
    write(root / "net.yaml", model())
    assert [entry.name for entry in Catalog([root]).entries()] == ["net"]
    assert Catalog([root]).problems() == ()


def test_weights_beside_the_asset(root):
    write(root / "models" / "net.yaml", model(weights="file: net.safetensors, sha256: ABCDEF0123"))
    weights = Catalog([root]).model("net").source.weights
    assert weights.file == root / "models" / "net.safetensors"
    assert weights.sha256 == "abcdef0123"


@pytest.mark.parametrize("given", ["../../secret", "sub/../../../secret", "link/secret"])
def test_paths_stay_inside_the_folder(root, given):
    (root / "models").mkdir()
    (root / "models" / "link").symlink_to(root.parent)
    path = write(root / "models" / "net.yaml", model(weights=f"file: {given}"))
    with pytest.raises(DocumentError, match="leads out of the asset folder") as caught:
        Catalog([root]).model("net")
    place = caught.value.problems[0].place
    assert (place.file, place.line) == (path, 9)
    write(root / "d.yaml", dataset(path=given.replace("link", "models/link")))
    with pytest.raises(DocumentError, match="leads out"):
        Catalog([root]).dataset("data")


def test_paths_may_go_up_within_the_folder(root):
    (root / "images").mkdir()
    write(root / "datasets" / "d.yaml", dataset(path="../images"))
    assert Catalog([root]).dataset("data").path == root / "images"


def test_data_that_is_not_shipped_is_looked_for_elsewhere(root):
    write(root / "d.yaml", dataset(path="images"))
    catalog = Catalog([root])
    assert catalog.dataset("data").path == root.parent / "data" / "images"
    (root / "images").mkdir()
    assert catalog.dataset("data").path == root / "images"


def test_label_lists(root):
    write(root / "d.yaml", dataset(labels="pets"))
    catalog = Catalog([root])
    with pytest.raises(UnknownNameError, match="no label list 'pets'"):
        catalog.dataset("data")
    labels = write(root / "labels" / "pets.txt", "great white shark\ncat\n")
    assert catalog.labels("pets") == ("great white shark", "cat")
    assert catalog.dataset("data").labels == ("great white shark", "cat")
    with pytest.raises(UnknownNameError, match="label list") as caught:
        catalog.labels("pest")
    assert caught.value.hint == "did you mean 'pets'?"
    for name in ("../labels/pets", "pets\0", ""):
        with pytest.raises(UnknownNameError):
            catalog.labels(name)
    labels.write_text("cat\n\ndog\n")
    with pytest.raises(InputError, match=r"pets\.txt:2: a line without a label"):
        catalog.labels("pets")


def test_a_label_list_stays_inside_its_folder(root):
    write(root.parent / "secret.txt", "hush\n")
    (root / "labels").mkdir()
    (root / "labels" / "pets.txt").symlink_to(root.parent / "secret.txt")
    with pytest.raises(InputError, match=r"pets\.txt: label list 'pets' leads out of the asset folder"):
        Catalog([root]).labels("pets")
    write(root / "labels" / "own.txt", "cat\n")
    (root / "labels" / "cats.txt").symlink_to("own.txt")
    assert Catalog([root]).labels("cats") == ("cat",)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_an_unreadable_label_list(root):
    write(root / "labels" / "pets.txt", "cat\n").chmod(0)
    with pytest.raises(StorageError, match=r"pets\.txt: can't be read"):
        Catalog([root]).labels("pets")


def test_search_path(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    for name in ("one", "two", "extra", "plugin"):
        (root.parent / name).mkdir()
    monkeypatch.setenv("MLMS_ASSETS", os.pathsep.join(["one", "two"]))
    folders = search_path([Path("extra")], [root.parent / "plugin"])
    assert folders[0] == shipped_assets().resolve()
    assert [folder.name for folder in folders[1:]] == ["plugin", "assets", "one", "two", "extra"]
    with pytest.raises(InputError, match="--assets names 'none'"):
        search_path([Path("none")])
    with pytest.raises(StorageError, match="n: can't be read: File name too long"):
        search_path([Path("n" * 300)])
    monkeypatch.setenv("MLMS_ASSETS", "nowhere")
    with pytest.raises(InputError, match=r"\$MLMS_ASSETS names 'nowhere'"):
        search_path()


def test_shipped_assets_are_inside_the_installed_package_or_beside_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "mlms" / "manifests" / "catalog.py"))
    assert shipped_assets() == tmp_path / "assets"
    (tmp_path / "mlms" / "assets").mkdir(parents=True)
    assert shipped_assets() == tmp_path / "mlms" / "assets"


def test_cache_folder(monkeypatch):
    monkeypatch.delenv("MLMS_CACHE", raising=False)
    assert cache_folder().name == "mlms"


def cache_files(root):
    return list((root.parent / "cache" / "catalog").glob("*.json"))


def test_a_thousand_assets_list_from_the_cache_as_they_do_without(root):
    for i in range(1000):
        write(root / f"family{i % 10}" / f"net{i}.yaml", model(f"net{i}"))
    fresh = Catalog([root]).entries()
    assert len(fresh) == 1000
    assert len(cache_files(root)) == 1
    script = (
        "import sys, time; start = time.perf_counter(); from mlms.manifests.catalog import Catalog;"
        "entries = Catalog([sys.argv[1]]).entries('model'); took = time.perf_counter() - start;"
        "print(len(entries), took, 'yaml' in sys.modules, 'jsonschema' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(root)]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    ).stdout.split()
    assert done[0] == "1000"
    assert float(done[1]) < 1.0
    assert done[2:] == ["False", "False"]
    assert Catalog([root]).entries() == fresh


def test_what_the_cache_holds_is_used(root):
    write(root / "a.yaml", model())
    asset = Catalog([root]).model("net")
    (cached,) = cache_files(root)
    before = cached.stat().st_mtime_ns
    assert Catalog([root]).model("net") == asset
    assert cached.stat().st_mtime_ns == before
    write(root / "b.yaml", model("other"))
    Catalog([root]).entries()
    assert len(json.loads(cached.read_bytes().partition(b"\n")[2])[1]) == 2


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff\x00\n[]"])
def test_a_damaged_cache_is_made_again(root, damage):
    write(root / "a.yaml", model())
    Catalog([root]).entries()
    (cached,) = cache_files(root)
    whole = cached.read_bytes()
    cached.write_bytes(damage or whole[:-5])
    assert len(Catalog([root]).entries()) == 1
    assert cached.read_bytes() == whole


def test_another_schema_or_version_makes_the_cache_again(root, monkeypatch):
    write(root / "a.yaml", model())
    Catalog([root]).entries()
    (cached,) = cache_files(root)
    before = cached.read_bytes()
    monkeypatch.setattr(folder, "_cache_key", lambda: "another")
    assert len(Catalog([root]).entries()) == 1
    assert cached.read_bytes() != before


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(root):
    (root.parent / "cache").write_text("a file where the directory would be")
    write(root / "a.yaml", model())
    assert len(Catalog([root]).entries()) == 1


def test_precedence_of_versions():
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
               "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]  # fmt: skip
    assert sorted({*ordered}, key=precedence) == ordered
