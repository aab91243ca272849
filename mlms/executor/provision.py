"""Bring a model's weights to this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlms.errors import ChecksumError, StorageError
from mlms.manifests.fetch import FetchSettings, fetch, sha256_of
from mlms.manifests.types import ModelAsset
from mlms.progress import Progress


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Verified weights. ``origin`` is "url", "file" or "random"; ``path`` is None for random ones."""

    origin: str
    location: str | None
    path: Path | None
    sha256: str | None


def provision_weights(model: ModelAsset, settings: FetchSettings, progress: Progress) -> WeightsFile:
    """Download the weights, or check the local file.

    Raises:
        FetchError: the download failed.
        ChecksumError: the bytes are not the asset's.
        StorageError: the local file doesn't exist.
    """
    weights = model.source.weights
    if weights.url is not None:
        path = fetch(weights.url, weights.sha256 or "", progress=progress, settings=settings)
        return WeightsFile("url", weights.url, path, sha256_of(path))
    if weights.file is not None:
        if not weights.file.is_file():
            raise StorageError(f"the weights of model '{model.name}' are not at {weights.file}")
        digest = sha256_of(weights.file)
        if weights.sha256 and not digest.startswith(weights.sha256):
            raise ChecksumError(
                f"{weights.file} has SHA-256 {digest}, but model '{model.name}' names {weights.sha256}",
                hint="restore the file, or mend the asset's sha256 if the new weights are meant",
            )
        return WeightsFile("file", weights.file.name, weights.file, digest)
    return WeightsFile("random", None, None, None)
