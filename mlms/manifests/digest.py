"""What decides an evaluation's result, as plain data and as a hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from mlms.manifests.fetch import sha256_of
from mlms.manifests.types import EnvironmentSpec, Evaluation, Weights
from mlms.urls import shown

_TELLS_NOTHING = ("file", "path", "description", "license", "homepage", "tags", "published")
_URLS = ("url", "otlp")
_ELSEWHERE = ("name", "digest", "workers", "memory_mib")


def evaluation_data(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as plain data for the record: paths as text, tuples as lists, URLs without secrets."""
    data: dict[str, Any] = _without_secrets(_as_plain(evaluation))
    return data


def digest_of(evaluation: Evaluation, data_path: str | None) -> str:
    """SHA-256 of the canonical JSON of all that decides the result.

    Places on this machine, collectors and the speed of preparation don't. Weights in a file count by their bytes;
    ``data_path`` is the dataset's path as the manifest words it, where it replaces the asset's.
    """
    data = _as_plain(evaluation)
    for key in _ELSEWHERE:
        del data[key]
    for asset in ("model", "framework", "dataset"):
        data[asset] = {key: value for key, value in data[asset].items() if key not in _TELLS_NOTHING}
    data["trace"] = {"level": evaluation.trace.level} | ({"leveled": True} if evaluation.trace.leveled else {})
    # Profilers count as the level does: a run without the counters that are asked for is none to resume from, and what
    # was observed differently is not to be pooled. Without any, the digest is what it was before there were profilers.
    if not evaluation.profilers:
        del data["profilers"]
    data["execution"] = {"cold_start": evaluation.execution.cold_start, "gc": evaluation.execution.gc}
    data["dataset"]["path"] = data_path
    source = evaluation.model.source
    if source.weights.file is not None:
        data["model"]["source"]["weights"] = {"sha256": _bytes_of(source.weights)}
    for name, file in source.files.items():
        data["model"]["source"]["files"][name] = {"sha256": _bytes_of(file)}
    # What most evaluations have nothing of leaves the digest as it was before mlms knew it.
    if not source.files:
        del data["model"]["source"]["files"]
    if evaluation.model.framework.url is None:
        del data["model"]["framework"]["url"]
    if evaluation.framework.environment == EnvironmentSpec():
        del data["framework"]["environment"]
    else:
        del data["framework"]["environment"]["answer_timeout"]
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def same_bytes(one: Weights, other: Weights) -> bool:
    """Whether two weights are known to be the same file's; a digest may be given by its first digits only."""
    ours, theirs = _bytes_of(one), _bytes_of(other)
    return ours is not None and theirs is not None and (ours.startswith(theirs) or theirs.startswith(ours))


def _bytes_of(file: Weights) -> str | None:
    return sha256_of(file.file) if file.file is not None and file.file.is_file() else file.sha256


def _as_plain(evaluation: Evaluation) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(dataclasses.asdict(evaluation))
    return plain


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: shown(item) if key in _URLS and isinstance(item, str) else _without_secrets(item)
        for key, item in value.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
