"""``mlms show``."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlms.cli import options

if TYPE_CHECKING:
    from mlms.hooks.components import Components
    from mlms.manifests.types import FrameworkAsset


@click.command("show", epilog="Example: mlms show resnet50, or: mlms show processor resize")
@click.argument("words", nargs=-1, required=True, metavar="[KIND] NAME")
@options.assets
@options.as_json
def command(words: tuple[str, ...], assets: tuple[Path, ...], as_json: bool) -> None:
    """Show one asset or component; of a framework also the trace levels that it supports.

    NAME may be name@version. KIND (model, framework, dataset, processor, reader, task, metric, profiler, exporter) is
    needed only where a name has several.
    """
    from mlms import api
    from mlms.errors import InputError, UnknownNameError
    from mlms.hooks.types import NO_OPTIONS
    from mlms.manifests.reader import read_document
    from mlms.manifests.types import KINDS

    if len(words) > 2:
        raise click.UsageError("give a name, or a kind and a name")
    kind, name = words if len(words) == 2 else (None, words[0])
    catalog = api.load_catalog(assets)
    components = api.load_plugins()
    registries = {noun: registry for noun, registry in components.registries.items() if noun not in KINDS}
    kinds = [*KINDS, *registries]
    if kind is not None and kind.removesuffix("s") in kinds:
        kind = kind.removesuffix("s")
    if kind is not None and kind not in kinds:
        near = get_close_matches(kind, kinds, n=1)
        raise InputError(
            f"'{kind}' is no kind", hint=f"did you mean '{near[0]}'?" if near else f"one of {', '.join(kinds)}"
        )
    base, _, version = name.partition("@")
    found: list[tuple[str, dict[str, Any]]] = []
    for entry in catalog.entries():
        if entry.name == base and kind in (None, entry.kind) and version in ("", entry.version):
            document = dict(read_document(entry.path).data)
            if entry.kind == "framework":
                document["levels"] = _levels(catalog.framework(f"{entry.name}@{entry.version}"), components)
            found.append((f"{entry.kind} {entry.name}@{entry.version}  {entry.path}", document))
    for noun, registry in registries.items():
        if kind in (None, noun) and name in registry:
            entry_ = registry.get(name)
            facts = {"summary": entry_.component.summary, "plugin": str(entry_.plugin)}
            options = entry_.component.options
            shown = "none" if options == NO_OPTIONS and not as_json else dict(options)
            found.append((f"{noun} {name}", {**facts, "options": shown}))
    if not found:
        if kind in (None, *KINDS):
            getattr(catalog, kind or "model")(name)  # raises with the nearest names
        if kind is not None:
            registries[kind].get(name)
        raise UnknownNameError(f"nothing is named '{name}'", hint="'mlms list models' lists what there is")
    if as_json:
        click.echo(json.dumps([data for _, data in found], indent=2))
        return
    import yaml

    for title, data in found:
        click.secho(title, bold=True)
        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100))


def _levels(framework: FrameworkAsset, components: Components) -> list[str] | str:
    """The trace levels that its component serves, or why they can't be told."""
    from mlms.errors import MlmsError
    from mlms.executor.binding import make
    from mlms.hooks.types import Context

    try:
        registered = components.frameworks.get(framework.component)
        return list(make(registered, framework.options, Context(labels=lambda name: ())).levels)
    except MlmsError as error:
        return f"unknown: {error.message}"
