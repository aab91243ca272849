"""Checked documents into typed assets. Paths stay inside the catalog folder that an asset came from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlms.errors import DocumentError, Place, Problem
from mlms.manifests.durations import seconds
from mlms.manifests.places import data_folder
from mlms.manifests.reader import INLINE, place_of
from mlms.manifests.types import (
    DEFAULT_VERSION,
    DatasetAsset,
    EnvironmentSpec,
    FrameworkAsset,
    ModelAsset,
    PublishedFigure,
    Requirement,
    Source,
    Step,
    TensorSpec,
    Weights,
)

DEFAULT_SEED = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an asset was written.

    Its paths are relative to ``base``, and inside ``root`` where there is one; a manifest, which is the user's own
    word, has none. ``path`` is the asset's file, None where it is inline.
    """

    base: Path
    root: Path | None = None
    path: Path | None = None

    def resolve(self, given: str, *pointer: str | int) -> Path:
        """The file that an asset means.

        Raises:
            DocumentError: it lies outside of the root, symbolic links resolved.
        """
        target = (self.base / Path(given).expanduser()) if self.root is None else self.base / given
        target = Path(os.path.realpath(target))
        if self.root is not None and not target.is_relative_to(os.path.realpath(self.root)):
            place = place_of(self.path, pointer) if self.path else Place(INLINE)
            message = f"'{given}' leads out of the asset folder {self.root}"
            hint = "keep the file in the asset's folder, or data below $MLMS_DATA"
            raise DocumentError([Problem(place, ".".join(map(str, pointer)), message, hint)])
        return target


def model_asset(data: Mapping[str, Any], origin: Origin) -> ModelAsset:
    source = data.get("source", {})  # a model that is served elsewhere has none
    return ModelAsset(
        **_common(data, origin),
        task=data["task"],
        framework=_requirement(data["framework"]),
        source=Source(
            factory=source.get("factory"),
            arguments=source.get("arguments", {}),
            weights=weights(source["weights"], origin, "source", "weights") if source else Weights(),
            files={
                name: weights(given, origin, "source", "files", name) for name, given in source.get("files", {}).items()
            },
        ),
        input=tuple(TensorSpec(item["name"], item["dtype"], tuple(item["shape"])) for item in data["input"]),
        preprocess=tuple(map(step, data.get("preprocess", ()))),
        postprocess=tuple(map(step, data.get("postprocess", ()))),
        published=tuple(PublishedFigure(**figure) for figure in data.get("published", ())),
        options=data.get("options", {}),
    )


def framework_asset(data: Mapping[str, Any], origin: Origin) -> FrameworkAsset:
    return FrameworkAsset(
        **_common(data, origin),
        component=data["component"],
        distribution=data["distribution"],
        packages=tuple(data.get("packages", ())),
        options=data.get("options", {}),
        environment=_environment(data.get("environment", {})),
    )


def dataset_asset(
    data: Mapping[str, Any], origin: Origin, label_list: Callable[[str], tuple[str, ...]]
) -> DatasetAsset:
    labels = data.get("labels")
    return DatasetAsset(
        **_common(data, origin),
        task=data.get("task"),
        reader=step(data["reader"]),
        path=_data_path(data["path"], origin) if "path" in data else None,
        labels=label_list(labels) if isinstance(labels, str) else tuple(labels) if labels is not None else None,
    )


def weights(data: str | Mapping[str, Any], origin: Origin, *pointer: str | int) -> Weights:
    """``random``, or a mapping of ``url``, ``file`` or ``random``."""
    if data == "random":
        return Weights(seed=DEFAULT_SEED)
    assert not isinstance(data, str)  # the schema allows no other word
    if "random" in data:
        return Weights(seed=data["random"].get("seed", DEFAULT_SEED))
    digest = data["sha256"].lower() if "sha256" in data else None
    if "url" in data:
        return Weights(url=data["url"], sha256=digest)
    return Weights(file=origin.resolve(data["file"], *pointer, "file"), sha256=digest)


def step(data: str | Mapping[str, Any]) -> Step:
    if isinstance(data, str):
        return Step(data)
    ((name, options),) = data.items()
    return Step(name, options or {})


def _common(data: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    return {
        "name": data["name"],
        "version": data.get("version", DEFAULT_VERSION),
        "file": origin.path,
        "description": data.get("description", ""),
        "license": data.get("license"),
        "homepage": data.get("homepage"),
        "tags": tuple(data.get("tags", ())),
    }


def _requirement(data: str | Mapping[str, Any]) -> Requirement:
    if isinstance(data, str):
        return Requirement(data)
    return Requirement(data["name"], data.get("version", ""), data.get("url"))


def _environment(data: Mapping[str, Any]) -> EnvironmentSpec:
    given = dict(data)
    if "answer_timeout" in given:
        given["answer_timeout"] = seconds(given["answer_timeout"])
    return EnvironmentSpec(**{**given, "requirements": tuple(given.get("requirements", ()))})


def _data_path(given: str, origin: Origin) -> Path:
    path = origin.resolve(given, "path")
    if origin.root is None or path.exists():
        return path
    folder = data_folder()
    return Origin(folder, folder, origin.path).resolve(given, "path")
