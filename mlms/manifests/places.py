"""The folders of this machine that mlms reads and writes beside the user's own."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$MLMS_CACHE`` or the platform's cache folder."""
    if given := os.environ.get("MLMS_CACHE"):
        return Path(given).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("mlms")


def data_folder() -> Path:
    """Where data that can't be shipped is looked for: ``$MLMS_DATA`` or the platform's folder for user data."""
    if given := os.environ.get("MLMS_DATA"):
        return Path(given).expanduser()
    from platformdirs import user_data_path

    return user_data_path("mlms")
