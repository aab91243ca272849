"""The plugin of ``fakes/served_plugin``, installed, with assets that run it in an environment of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.distributions import importable
from fakes.environments import SERVED

REQUIREMENTS = ["numpy"]


def install_served(site: Path) -> None:
    """Install it into ``site``, as pip would."""
    shutil.copytree(SERVED, site / SERVED.name, ignore=shutil.ignore_patterns("__pycache__"))
    information = site / "mlms_served-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mlms-served\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text("[mlms]\nserved = mlms_served.plugin\n")


@contextmanager
def served_plugin(site: Path) -> Iterator[None]:
    """Have it installed for this process."""
    install_served(site)
    with importable(site):
        yield


def write_framework(folder: Path, name: str, environment: Mapping[str, Any]) -> None:
    """A framework asset that the plugin drives in ``environment``."""
    asset = {
        "kind": "framework",
        "name": name,
        "component": "served",
        "distribution": "numpy",
        "environment": environment,
    }
    (folder / "frameworks").mkdir(parents=True, exist_ok=True)
    (folder / "frameworks" / f"{name}.yaml").write_text(json.dumps(asset))


def write_model(folder: Path, name: str, framework: str, **rest: Any) -> None:
    """A linear model of the digits."""
    asset = {
        "kind": "model",
        "name": name,
        "task": "image_classification",
        "framework": framework,
        "source": {"weights": {"random": {"seed": 0}}},
        "input": [{"name": "image", "dtype": "float32", "shape": [8, 8]}],
        "preprocess": [{"rescale": {"factor": "1/16"}}],
        "postprocess": ["softmax", {"top_k": {"k": 5, "labels": "digits"}}],
        **rest,
    }
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "models" / f"{name}.yaml").write_text(json.dumps(asset))
