"""Finished runs, handed to an exporter, and what it makes put in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlms.errors import DocumentError, InputError, Place, StorageError
from mlms.hooks.blame import blaming
from mlms.hooks.components import Components
from mlms.hooks.types import Context, Exporter
from mlms.manifests.schema import problems_against
from mlms.runs.run import Run
from mlms.storage import writing


def make_exporter(name: str, options: Mapping[str, Any], components: Components, context: Context) -> Exporter:
    """The exporter of that name.

    Raises:
        UnknownNameError: no plugin offers it.
        DocumentError: an option is not one of its, or doesn't fit.
        PluginError: it can't be made.
    """
    registered = components.exporters.get(name)
    problems = problems_against(registered.component.options, dict(options), path=None)
    if problems:
        raise DocumentError([replace(problem, place=Place(f"--format {name}")) for problem in problems])
    with blaming(f"plugin {registered.plugin} can't make '{name}'"):
        return registered.component.make(options, context)


def export(runs: Sequence[Run], name: str, exporter: Exporter, target: Path | None) -> str:
    """Run an exporter. Returns its document where it writes text and ``target`` is None, else a line on what it made.

    A file is overwritten. A folder appears whole or not at all.

    Raises:
        InputError: ``target`` is missing where one is needed, or given where there is none; a run doesn't fit.
        StorageError: a file of a run is missing, or ``target`` can't be written.
        PluginError: the exporter failed.
    """
    if exporter.writes == "elsewhere" and target is not None:
        raise InputError(f"--format {name} writes no file", hint=f"leave --output out; `mlms show exporter {name}`")
    if exporter.writes == "folder":
        if target is None:
            raise InputError(f"--format {name} writes a folder", hint="name it with --output DIR")
        return _export_folder(runs, name, exporter, target)
    with blaming(f"exporter '{name}'"):
        text = exporter.export(runs, None)
    if exporter.writes == "elsewhere" or target is None:
        return text
    with writing(target):
        if target.is_dir():
            hint = f"--format {name} writes one file; name it"
            raise StorageError("this is a folder", place=Place(target), hint=hint)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text if text.endswith("\n") else f"{text}\n", "utf-8")
    return str(target)


def _export_folder(runs: Sequence[Run], name: str, exporter: Exporter, target: Path) -> str:
    with writing(target):
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            hint = "name a new or empty folder"
            raise StorageError("there is something here already", place=Place(target), hint=hint)
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            with blaming(f"exporter '{name}'"):
                said = exporter.export(runs, made)
            made.rename(target)
    return f"{target}: {said}"
