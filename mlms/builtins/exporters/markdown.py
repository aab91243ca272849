"""Markdown tables (GitHub's) for issues, pull requests and model cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlms.builtins.exporters.text import TextExporter, by_level, section
from mlms.hooks import Component, Exporter, Run

_SPECIAL = {ord(character): f"\\{character}" for character in "\\|*_`<>[]#~"}


def render(runs: Sequence[Run]) -> str:
    """One run with its setup, or a table with a line a run; a table for each trace level where they differ."""
    if len(runs) == 1:
        return "\n".join(_whole(runs[0]))
    lines: list[str] = []
    levels = by_level(runs)
    for level, group in levels.items():
        if len(levels) > 1:
            lines += [f"## Traced at level {level}", ""]
        lines += [*_comparison(group), ""]
    return "\n".join(lines[:-1])


def _whole(run: Run) -> Iterator[str]:
    yield f"## {_text(run.name)}"
    yield ""
    yield from _table(["result", "value", "note"], [[row.label, row.value, row.note] for row in run.summary])
    yield ""
    yield from _table(["setup", ""], [list(fact) for fact in _setup(run)])


def _comparison(runs: Sequence[Run]) -> Iterator[str]:
    shown = [{row.label: row.value for row in run.summary if row.label != "warning"} for run in runs]
    labels = list(dict.fromkeys(label for rows in shown for label in rows))
    rows = [[run.name, *(row.get(label, "") for label in labels)] for run, row in zip(runs, shown, strict=True)]
    yield from _table(["run", *labels], rows)


def _setup(run: Run) -> Iterator[tuple[str, str]]:
    model, framework, dataset = (section(run, name) for name in ("model", "framework", "dataset"))
    environment, manifest = section(run, "environment"), section(run, "manifest")
    if model:
        weights = model["weights"]
        origin = f"sha256 {weights['sha256']}" if weights["sha256"] else f"random, seed {weights['seed']}"
        yield "model", f"{model['name']} {model['version']}"
        yield "weights", origin
    if framework:
        yield "framework", f"{framework['distribution']} {framework['installed']}"
    if dataset:
        share = f"{dataset['evaluated']} of {dataset['samples']} samples"
        yield "dataset", f"{dataset['name']} {dataset['version']}, {share}"
    yield "batch size", str(section(run, "evaluation").get("batch_size", ""))
    yield "trace level", str(section(run, "trace").get("level", ""))
    yield "processor", str((environment.get("cpu") or {}).get("model", ""))
    yield "system", str((environment.get("os") or {}).get("distribution") or "")
    yield "environment", str(environment.get("fingerprint", ""))
    if manifest.get("git"):
        yield "commit", manifest["git"]["commit"] + (", with changes" if manifest["git"]["dirty"] else "")
    yield "run", f"{run.id}, mlms {run.record.get('mlms_version')}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [f"| {' | '.join(map(_text, cells))} |" for cells in (header, *rows)]
    yield from [lines[0], f"|{' --- |' * len(header)}", *lines[1:]]


def _text(text: str) -> str:
    """Text as it is, on one line: nothing in it is markup."""
    return " ".join(text.translate(_SPECIAL).split())


COMPONENT: Component[Exporter] = Component(
    "markdown", lambda options, context: TextExporter(render), "Tables for issues, pull requests and model cards."
)
