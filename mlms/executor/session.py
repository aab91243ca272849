"""How evaluations are run, as opposed to what is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlms.hooks.components import Components
from mlms.manifests.fetch import FetchSettings
from mlms.progress import Progress


@dataclass(frozen=True, slots=True)
class Session:
    """What every evaluation of a sweep shares. ``output`` is the folder that run directories go to."""

    components: Components
    labels: Callable[[str], tuple[str, ...]]
    output: Path
    fetch: FetchSettings
    progress: Progress
    reopen: Callable[[Progress], Session]
    """Makes the same session in another process; it can be pickled."""
    otlp: str | None = None
    """Overrides the manifest's endpoint and the environment's."""
