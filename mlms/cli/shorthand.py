"""Short forms on the command line for what a manifest spells out."""

from __future__ import annotations

import json
from pathlib import Path


def override(key: str, value: object) -> str:
    """A key of the manifest and its value, a list as JSON, as ``--set`` has it."""
    return f"{key}={json.dumps(value) if isinstance(value, list) else value}"


def weights_override(text: str) -> str:
    """``random`` or a file, as an override of the manifest's ``weights``."""
    if text == "random":
        return "weights=random"
    return f"weights={json.dumps({'file': str(Path(text).resolve())})}"
