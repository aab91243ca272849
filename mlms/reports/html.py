"""A run as one HTML file that needs nothing else: no network, no framework, and no script to be read.

Draws only what is stored. Imported lazily; jinja2 and polars are imported when a report is made.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlms.reports import axes, charts
from mlms.reports.format import plain, size
from mlms.reports.quantities import quantity
from mlms.reports.resources import resource_lines
from mlms.runs import summary

if TYPE_CHECKING:
    import jinja2
    import polars as pl

    from mlms.tracing.counters import CounterTable

SETTINGS_APART = ("model", "framework", "dataset")
"""Parts of the evaluation that are whole assets: shown folded, as JSON."""
LONGEST_JSON = 20_000
LONGEST_VALUE = 500


def render_run(
    record: Mapping[str, Any],
    latencies: pl.DataFrame | None,
    predictions: pl.DataFrame | None,
    spans: pl.DataFrame | None,
    layers: Mapping[str, Any] | None = None,
    counters: CounterTable | None = None,
) -> str:
    """Render a run's record and its tables as an HTML document.

    ``latencies`` has the columns phase ("warmup" or "measured"), start_ns and latency_ns; ``predictions`` sample and,
    for a classifier, target, class, label and scores; ``spans`` those of the span table. A table that is None or
    empty, or lacks what a part needs, leaves that part out. ``layers`` is the overview of where the time goes,
    ``counters`` what profilers sampled.
    """
    from mlms.reports.counters import charts as counter_charts
    from mlms.reports.counters import counter_lines, measured_window
    from mlms.reports.flame import pack
    from mlms.reports.predictions import mistakes
    from mlms.reports.spans import span_tree
    from mlms.reports.where_time_goes import layer_section

    measured = None if latencies is None else latencies.filter(latencies["phase"] == "measured")
    percentiles = _at(record, "latency", "percentiles") or ()
    labels = _at(record, "evaluation", "dataset", "labels")
    templates = environment()
    flame = None if spans is None else pack(spans)
    style = source(templates, "run.css")
    script = source(templates, "run.js") + (source(templates, "flame.js") if flame else "")
    return templates.get_template("run.html").render(
        record=record,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        load=summary.load_lines(record),
        device=_at(record, "model", "describe", "device") or _at(record, "evaluation", "device"),
        histogram=None if measured is None else charts.histogram(measured["latency_ns"].to_numpy(), percentiles),
        timeline=None if latencies is None else charts.timeline(latencies),
        flame=flame,
        steps=_steps(record["steps"]),
        resources=list(resource_lines(record)),
        counters=None
        if counters is None
        else counter_charts(counters.series(), _start(spans), measured_window(latencies)),
        counter_lines=list(counter_lines(record)),
        tree=None if spans is None else span_tree(spans),
        layers=layers and layer_section(layers),
        mistakes=None if predictions is None else mistakes(predictions, labels),
        settings=list(_flat({key: value for key, value in record["evaluation"].items() if key not in SETTINGS_APART})),
        assets=[(key, _json(record["evaluation"][key])) for key in SETTINGS_APART if key in record["evaluation"]],
    )


@cache
def environment() -> jinja2.Environment:
    """The templates, with the filters that they use."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("mlms.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=lambda value: f"{value:,}",
        difference=lambda value, unit: summary.NOTHING if value is None else summary.format_difference(value, unit),
        duration=summary.format_duration,
        figure=summary.format_figure,
        interval=summary.format_interval,
        flat=lambda value, path="": list(_flat(value, path)),
        limit=axes.axis_duration,
        path=lambda value: quote(str(value), errors="replace"),
        percentile=summary.format_percentile,
        quantity=quantity,
        plain=plain,
        rate=summary.format_rate,
    )
    made.globals.update(nothing=summary.NOTHING, unsteady=summary.UNSTEADY)
    made.tests["web"] = lambda value: str(value).startswith(("https://", "http://"))
    return made


def _shown(value: object) -> object:
    """What an expression of the template shows: text made harmless and short, a dash for nothing."""
    if value is None:
        return summary.NOTHING
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return plain(value, LONGEST_VALUE)
    return value


def source(templates: jinja2.Environment, name: str) -> str:
    """A file of the templates as it stands, to be put inline."""
    import markupsafe

    assert templates.loader is not None
    return markupsafe.Markup(templates.loader.get_source(templates, name)[0])


def _start(spans: pl.DataFrame | None) -> int | None:
    """Where the trace starts, Unix ns."""
    return None if spans is None or not spans.height else int(spans["start_ns"].min())  # type: ignore[arg-type]


def _steps(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each step with where it starts and how wide it is, in percent of all steps."""
    whole = sum(step["seconds"] for step in steps) or 1.0
    placed, start = [], 0.0
    for step in steps:
        share = 100 * step["seconds"] / whole
        placed.append({"name": step["name"], "ns": step["seconds"] * 1e9, "start": round(start, 3), "share": share})
        start += share
    return placed


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested data as dotted paths and text; an empty mapping is none, a list of plain values is one."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        if any(isinstance(entry, Mapping | list | tuple) for entry in value):
            for index, entry in enumerate(value):
                yield from _flat(entry, f"{path}[{index}]")
        else:
            yield path, ", ".join(map(_text, value)) or summary.NOTHING
    elif path.endswith("_bytes") and isinstance(value, int):
        yield path, f"{size(value)} ({value:,} bytes)"
    else:
        yield path, _text(value)


def _text(value: object) -> str:
    if value is None:
        return summary.NOTHING
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: object) -> Sequence[str]:
    """Lines of JSON, cut to a length."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text[:LONGEST_JSON].splitlines() + (["…"] if len(text) > LONGEST_JSON else [])


def _at(record: Mapping[str, Any], *keys: str) -> Any:
    """The value at a path of keys, None where a part of the path is missing."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
