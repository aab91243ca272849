"""Bring a model's weights to this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlms.errors import ChecksumError, FetchError, MlmsError, StorageError
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
    try:
        found, *further = (_provide(file, what, settings, progress) for _, what, file in _files(model))
    except ChecksumError:
        raise  # random weights are no mend of a wrong file
    except FetchError as error:
        if model.source.factory is not None:  # else the file is the model
            error.hint = f"{error.hint}; or measure performance without the weights: --weights random"
        raise
    return replace(found, files=dict(zip(model.source.files, (str(file.path) for file in further), strict=True)))


def local_problems(model: ModelAsset) -> Iterator[tuple[tuple[str, ...], MlmsError]]:
    """What is wrong with the files of a model that lie on this machine, each with its key in the asset."""
    for pointer, what, file in _files(model):
        if file.file is not None:
            try:
                _local(file.file, file.sha256, what)
            except MlmsError as error:
                yield (*pointer, "file"), error


def _files(model: ModelAsset) -> Iterator[tuple[tuple[str, ...], str, Weights]]:
    """The weights, then the further files: key, what to call it, and where it comes from."""
    yield ("source", "weights"), f"the weights of model '{model.name}'", model.source.weights
    for name, file in model.source.files.items():
        yield ("source", "files", name), f"file '{name}' of model '{model.name}'", file


def _provide(file: Weights, what: str, settings: FetchSettings, progress: Progress) -> WeightsFile:
    if file.url is not None:
        path = fetch(file.url, file.sha256 or "", progress=progress, settings=settings)
        return WeightsFile("url", shown(file.url), path, sha256_of(path))
    if file.file is not None:
        return WeightsFile("file", file.file.name, file.file, _local(file.file, file.sha256, what))
    return WeightsFile("random" if file.random else "served", None, None, None)


def _local(path: Path, sha256: str | None, what: str) -> str:
    """The SHA-256 of a file on this machine, which is the one that the asset names, if it names one."""
    if not path.is_file():
        raise StorageError(
            f"{what} can't be found at {path}",
            hint="put the file there, or mend its path; in YAML it is relative to the file that it stands in",
        )
    digest = sha256_of(path)
    if sha256 and not digest.startswith(sha256):
        raise ChecksumError(
            f"{path} has SHA-256 {digest}, but the asset names {sha256} for {what}",
            hint="restore the file, or mend the asset's sha256 if the new bytes are meant",
        )
    return digest
