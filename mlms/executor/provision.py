"""Bring a model's weights to this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlms.errors import ChecksumError, StorageError
from mlms.manifests.fetch import FetchSettings, fetch, sha256_of
from mlms.manifests.types import ModelAsset, Weights
from mlms.progress import Progress
from mlms.urls import shown


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Verified weights. ``origin`` is "url", "file", "random" or "served"; ``path`` is None for the last two.

    ``files`` are the paths of the model's further files, by name, verified as well.
    """

    origin: str
    location: str | None
    path: Path | None
    sha256: str | None
    files: Mapping[str, str] = field(default_factory=dict)


def provision_weights(model: ModelAsset, settings: FetchSettings, progress: Progress) -> WeightsFile:
    """Download the weights and the further files, or check the local ones.

    Raises:
        FetchError: the download failed.
        ChecksumError: the bytes are not the asset's.
        StorageError: the local file doesn't exist.
    """
    found = _provide(model.source.weights, f"the weights of model '{model.name}'", settings, progress)
    files = {
        name: str(_provide(file, f"file '{name}' of model '{model.name}'", settings, progress).path)
        for name, file in model.source.files.items()
    }
    return replace(found, files=files)


def _provide(file: Weights, what: str, settings: FetchSettings, progress: Progress) -> WeightsFile:
    if file.url is not None:
        path = fetch(file.url, file.sha256 or "", progress=progress, settings=settings)
        return WeightsFile("url", shown(file.url), path, sha256_of(path))
    if file.file is not None:
        if not file.file.is_file():
            raise StorageError(f"{what} can't be found at {file.file}")
        digest = sha256_of(file.file)
        if file.sha256 and not digest.startswith(file.sha256):
            raise ChecksumError(
                f"{file.file} has SHA-256 {digest}, but the asset names {file.sha256} for {what}",
                hint="restore the file, or mend the asset's sha256 if the new bytes are meant",
            )
        return WeightsFile("file", file.file.name, file.file, digest)
    return WeightsFile("random" if file.random else "served", None, None, None)
