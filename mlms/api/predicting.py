"""Models asked outside of an evaluation: about files, and by other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlms.api.evaluating import Settings
from mlms.api.planning import load_catalog, load_plugins, resolve_manifest
from mlms.errors import InputError
from mlms.manifests.fetch import FetchSettings
from mlms.manifests.types import Evaluation
from mlms.progress import Progress, Silent

if TYPE_CHECKING:
    from mlms.agents.server import Endpoint
    from mlms.executor.prediction import FilePrediction


def predict(
    model: str,
    files: Sequence[str | Path],
    *,
    device: str = "auto",
    weights: str | None = None,
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Iterator[FilePrediction]:
    """What a model says about files, one at a time."""
    from mlms.executor.prediction import predict_files

    manifest = {"kind": "manifest", "schema_version": 1, "name": "predict", "model": model, "dataset": "synthetic"}
    manifest["device"] = device
    if weights is not None:
        manifest["weights"] = weights
    catalog = load_catalog(assets)
    (evaluation,) = resolve_manifest(manifest, catalog, (), check=True).evaluations
    fetch = FetchSettings.from_environment(mirror=settings.mirror, offline=settings.offline)
    paths = [Path(file) for file in files]
    yield from predict_files(evaluation, paths, load_plugins(), catalog.labels, fetch, progress or Silent())


@contextmanager
def serve(
    models: Sequence[str],
    endpoint: Endpoint,
    *,
    every: bool = False,
    device: str = "cpu",
    disclose: bool = False,
    assets: Sequence[str | Path] = (),
    settings: Settings = Settings(),
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Iterator[str]:
    """An agent that answers callers of the Open Inference Protocol for as long as the context is open; gives its URL.

    ``models`` are loaded, and callers may unload and load these and no others. With ``every``, instead, callers may
    load any model of the catalog, and none is at first. ``log`` takes what callers aren't told of failures.

    Raises:
        MlmsError: it can't listen at the endpoint, or a model can't be loaded.
    """
    from mlms.agents.hosting import Host
    from mlms.agents.server import serving

    if bool(models) == every:
        raise InputError(
            "there is no model to serve" if not every else "the models are given twice",
            hint="name models, or let callers load any of the catalog with --all",
        )
    catalog = load_catalog(assets)
    listed = list(dict.fromkeys(entry.name for entry in catalog.entries("model"))) if every else list(models)

    def find_model(reference: str) -> Evaluation:
        catalog.model(reference)  # an unknown one is said to be unknown, and not at a place in a manifest
        manifest = {"kind": "manifest", "schema_version": 1, "name": "agent", "model": reference, "device": device}
        (evaluation,) = resolve_manifest(manifest | {"dataset": "synthetic"}, catalog, (), check=False).evaluations
        return evaluation

    fetch = FetchSettings.from_environment(mirror=settings.mirror, offline=settings.offline)
    host = Host(
        listed,
        find_model,
        load_plugins(),
        catalog.labels,
        fetch,
        progress or Silent(),
        at_start=not every,
        disclose=disclose,
        log=log,
    )
    with serving(host, endpoint) as url:
        yield url
