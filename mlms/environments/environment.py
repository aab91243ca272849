"""A virtual environment that mlms has made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FACTS = "environment.json"
LOCK = "requirements.lock"


@dataclass(frozen=True, slots=True)
class Environment:
    """What was built from a framework's requirements.

    ``name`` begins with that of the framework it was first built for and ends with digits of ``digest``, which is what
    equal requirements share. ``packages`` are installed versions by distribution, ``lock_sha256`` is the hash of the
    file that pins them.
    """

    name: str
    digest: str
    folder: Path
    python: str
    requirements: tuple[str, ...]
    packages: Mapping[str, str]
    lock_sha256: str
    built_with: str
    """"uv" or "pip"."""
    created: str
    """When, ISO 8601 in UTC."""

    @property
    def interpreter(self) -> Path:
        return self.folder / "bin" / "python"

    def write(self) -> None:
        facts = {key: value for key, value in asdict(self).items() if key != "folder"}
        (self.folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def read(folder: Path) -> Environment:
    """Raises OSError or ValueError where there is no whole environment."""
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text("utf-8"))
        found = Environment(folder=folder, **{**facts, "requirements": tuple(facts["requirements"])})
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{folder / FACTS} doesn't describe an environment") from error
    texts = (found.name, found.digest, found.python, found.lock_sha256, found.built_with, found.created)
    if not all(isinstance(text, str) for text in (*texts, *found.requirements)) or not isinstance(found.packages, dict):
        raise ValueError(f"{folder / FACTS} doesn't describe an environment")
    return found
