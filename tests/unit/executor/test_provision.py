from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.model_assets import torch_model
from fakes.weights_server import WeightsServer
from mlms.errors import ChecksumError, FetchError, StorageError
from mlms.executor.provision import WeightsFile, provision_weights
from mlms.manifests.fetch import FetchSettings
from mlms.manifests.types import ModelAsset, Weights
from mlms.progress import Silent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")
    return path


def model(weights: Weights) -> ModelAsset:
    asset = torch_model("linear")
    return replace(asset, source=replace(asset.source, weights=weights))


def provision(weights: Weights) -> WeightsFile:
    return provision_weights(model(weights), FetchSettings(Path("unused"), offline=True), Silent())


def test_random_weights_need_no_file() -> None:
    assert provision(Weights(seed=3)) == WeightsFile("random", None, None, None)


@pytest.mark.parametrize("digits", [0, 8, 64])
def test_a_local_file_is_held_against_as_much_of_the_checksum_as_is_given(file: Path, digits: int) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    found = provision(Weights(file=file, sha256=digest[:digits] or None))
    assert found == WeightsFile("file", "net.pt", file, digest)


def test_where_weights_came_from_is_recorded_without_secrets(tmp_path: Path) -> None:
    with WeightsServer() as server:
        url, digest = server.put("/net.pth", b"weights")
        weights = Weights(url=url.replace("//", "//me:s3cr3t@") + "?token=s3cr3t", sha256=digest)
        found = provision_weights(model(weights), FetchSettings(tmp_path), Silent())
    assert found.location == f"{url}?token=…"
    assert server.requests == [("/net.pth?token=s3cr3t", None)]


def test_another_checksum_is_refused(file: Path) -> None:
    with pytest.raises(
        ChecksumError, match=r"net.pt has SHA-256 \w{64}, but the asset names 00000000 for the w"
    ) as caught:
        provision(Weights(file=file, sha256="0" * 8))
    assert caught.value.hint


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="weights of model 'net' can't be found at"):
        provision(Weights(file=tmp_path / "gone.pt"))


def test_a_failed_download_says_what_can_be_done_without_it() -> None:
    url = Weights(url="https://example.org/net.pt", sha256="0" * 64)
    with pytest.raises(FetchError) as caught:
        provision(url)
    assert caught.value.hint is not None
    assert caught.value.hint.endswith("; or measure performance without the weights: --weights random")
    whole = replace(model(url), source=replace(model(url).source, factory=None))
    with pytest.raises(FetchError) as caught:
        provision_weights(whole, FetchSettings(Path("unused"), offline=True), Silent())
    assert "random" not in str(caught.value)


def test_further_files_are_checked_and_named(file: Path, tmp_path: Path) -> None:
    asset = model(Weights(file=file))
    named = {"prototxt": Weights(file=file, sha256=hashlib.sha256(b"weights").hexdigest())}
    settings = FetchSettings(tmp_path, offline=True)
    given = replace(asset, source=replace(asset.source, files=named))
    assert provision_weights(given, settings, Silent()).files == {"prototxt": str(file)}
    gone = replace(asset, source=replace(asset.source, files={"prototxt": Weights(file=tmp_path / "gone")}))
    with pytest.raises(StorageError, match="file 'prototxt' of model 'net' can't be found at"):
        provision_weights(gone, settings, Silent())
