"""Manifests and assets for the functional tests, short to measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUICK = {"type": "single_stream", "min_queries": 16, "min_duration": 0, "max_duration": "20s"}
"""A scenario that is over in no time."""


def write(path: Path, **document: Any) -> Path:
    """A document as a file. JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema_version": 1, **document}, indent=1), encoding="utf-8")
    return path


def manifest(path: Path = Path("manifest.yaml"), **changes: Any) -> Path:
    """A manifest of the shipped digits; a key of None leaves it out."""
    document = {
        "kind": "manifest",
        "name": "quick",
        "models": ["digits-cnn"],
        "dataset": "digits-test",
        "device": "cpu",
        "threads": 1,
        "warmup": 3,
        "scenario": QUICK,
        **changes,
    }
    return write(path, **{key: value for key, value in document.items() if value is not None})


def judge(name: str = "judge", **changes: Any) -> dict[str, Any]:
    """A model of the acme plugin, as a manifest's inline asset; ``arguments`` are those of its Judge."""
    arguments = changes.pop("arguments", {})
    return {
        "name": name,
        "task": "image_classification",
        "framework": {"name": "acme"},
        "source": {"factory": "acme_plugin:Judge", "arguments": arguments, "weights": {"file": "judge.bin"}},
        "input": [{"name": "image", "dtype": "float32", "shape": [1, 8, 8]}],
        "preprocess": [{"reshape": {"shape": [1, 8, 8]}}, {"rescale": {"factor": "1/16"}}],
        "postprocess": [{"softmax": {}}, {"top_k": {"k": 5, "labels": "digits"}}],
        **changes,
    }
