"""What a plugin's component raises, said as an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlms.errors import MlmsError, PluginError


@contextmanager
def blaming(culprit: str, kind: type[MlmsError] = PluginError) -> Iterator[None]:
    """Turn what isn't an mlms error into one of ``kind``: "<culprit>: <type of the exception>: <its message>"."""
    try:
        yield
    except MlmsError:
        raise
    except Exception as error:
        raise kind(f"{culprit}: {type(error).__name__}: {error}") from error
