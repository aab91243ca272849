"""Runs as tables for a terminal. Imports rich; imported lazily.

All text from a record goes in as ``Text`` of plain characters: nothing in a name is markup or steers the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mlms.reports.counters import counter_lines
from mlms.reports.format import LONGEST, plain
from mlms.reports.resources import resource_lines
from mlms.runs import summary
from mlms.runs.summary import by_level

LONGEST_NAME = 60
SHOWN_PERCENTILES = (50.0, 90.0, 99.0)
MANY = 4
"""Runs that are looked over in a table, be it without what a narrow terminal has no room for."""


@dataclass(frozen=True)
class Fitting:
    """The first renderable that fits the width it is given, else the last."""

    choices: Sequence[ConsoleRenderable]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for choice in self.choices[:-1]:
            if Measurement.get(console, options.update(width=10_000), choice).maximum <= options.max_width:
                yield choice
                return
        yield self.choices[-1]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(0, options.max_width)


def results_table(records: Sequence[Mapping[str, Any]]) -> ConsoleRenderable:
    """Accuracy beside the published figure, latency, throughput and validity: a line a run where the terminal is wide
    enough, or where there are many runs to look over; else a short list for each. Runs of different trace levels share
    no table.
    """
    levels = by_level(records)
    if len(levels) < 2:
        return _fitting(records)
    return Group(
        *(
            Padding(
                Group(Text(f"traced at level {level}", style="bold"), _fitting(group)), (1 if number else 0, 0, 0, 0)
            )
            for number, (level, group) in enumerate(levels.items())
        )
    )


def _fitting(records: Sequence[Mapping[str, Any]]) -> Fitting:
    stacked = Group(*_stacked(records))
    compact = [_compact(records, (50.0, 90.0)), _compact(records, (50.0,))] if len(records) >= MANY else []
    return Fitting([_wide(records), *compact, stacked])


def run_panel(record: Mapping[str, Any]) -> ConsoleRenderable:
    """One run in detail: what ran, every metric and percentile, validity with its problems, steps and warnings."""
    model, framework, dataset = record["model"], record["framework"], record["dataset"]
    parts: list[ConsoleRenderable] = [
        _rows(
            [
                ("model", _text(f"{model['name']} {model['version']}")),
                ("framework", _text(f"{framework['distribution']} {framework['installed']}")),
                ("dataset", _text(f"{dataset['name']}, {dataset['evaluated'] or dataset['samples']:,} samples")),
                ("device", _text(model["describe"].get("device", summary.NOTHING))),
                ("started", _text(f"{str(record['started_at'])[:19].replace('T', ' ')} UTC")),
                ("run", _text(record["id"])),
            ]
        ),
        Padding(_metrics(record), (1, 0)),
        *([Padding(_percentile_table(record), (0, 0, 1, 0))] if (record["latency"] or {}).get("percentiles") else []),
        _rows(
            [
                *_latency(record),
                ("throughput", _rate(record)),
                ("LoadGen", _valid(record)),
                *(("", _text(problem)) for problem in record["scenario"]["problems"]),
                *((label, _text(text)) for label, text in summary.load_lines(record)),
                *((label, _text(text)) for label, text in resource_lines(record)),
                *((label, _text(text)) for label, text in counter_lines(record)),
            ]
        ),
        Padding(
            _rows([(step["name"], Text(summary.format_duration(step["seconds"] * 1e9))) for step in record["steps"]]),
            (1, 0, 0, 0),
        ),
    ]
    if record["warnings"]:
        warnings = [Text("warning: ", style="yellow") + _text(warning) for warning in record["warnings"]]
        parts.append(Padding(Group(*warnings), (1, 0, 0, 0)))
    return Panel(Group(*parts), title=_text(record["name"], LONGEST_NAME), title_align="left", padding=(0, 1))


def failures_table(failures: Sequence[tuple[str, str]]) -> ConsoleRenderable:
    """Evaluations that failed, each with its error; ``failures`` are (evaluation, message)."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title_justify="left",
        title=Text(f"{len(failures)} failed", style="bold red"),
    )
    table.add_column("evaluation", ratio=1, overflow="fold")
    table.add_column("error", ratio=3, overflow="fold")
    for name, message in failures:
        lines = [_text(line) for line in message.splitlines()]
        table.add_row(_text(name, LONGEST_NAME), Text("\n").join(lines))
    return table


def _wide(records: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("evaluation", no_wrap=True)
    for heading in ("top1", "published", "difference", *(f"p{p:g}" for p in SHOWN_PERCENTILES), "throughput"):
        table.add_column(heading, justify="right")
    table.add_column("LoadGen")
    for record in records:
        value, published, difference = _accuracy(record)
        found = _percentiles(record, "\n")
        latency = (found.get(percentile, Text(summary.NOTHING)) for percentile in SHOWN_PERCENTILES)
        name = _text(record["name"], LONGEST_NAME)
        table.add_row(name, value, published, difference, *latency, _rate(record), _valid(record))
    return table


def _compact(records: Sequence[Mapping[str, Any]], percentiles: Sequence[float]) -> Table:
    """The table without published figures and tails."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("evaluation", no_wrap=True)
    units = {record["throughput"]["unit"] for record in records if record["throughput"]}
    unit = units.pop() if len(units) == 1 else None  # said once, there is more room
    for heading in ("top1", *(f"p{p:g}" for p in percentiles), unit or "throughput"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("LoadGen")
    for record in records:
        found = {
            entry["percentile"]: Text(
                summary.NOTHING if entry["value"] is None else summary.format_duration(entry["value"])
            )
            for entry in (record["latency"] or {"percentiles": ()})["percentiles"]
        }
        latency = (found.get(percentile, Text(summary.NOTHING)) for percentile in percentiles)
        rate = _rate(record) if unit is None else Text(_rate(record).plain.removesuffix(f" {unit}"))
        table.add_row(_text(record["name"], LONGEST_NAME), _accuracy(record)[0], *latency, rate, _valid(record))
    return table


def _stacked(records: Sequence[Mapping[str, Any]]) -> Iterator[ConsoleRenderable]:
    for number, record in enumerate(records):
        value, published, difference = _accuracy(record)
        latency = _percentiles(record)
        accuracy = value.copy()
        if published.plain != summary.NOTHING:
            accuracy += Text(f", published {published}, difference {difference}")
        rows = [
            ("top1", accuracy),
            *((f"p{percentile:g}", latency[percentile]) for percentile in SHOWN_PERCENTILES if percentile in latency),
            ("throughput", _rate(record)),
            ("LoadGen", _valid(record)),
        ]
        name = _text(record["name"], LONGEST_NAME)
        name.stylize("bold")
        yield Padding(
            Group(name, Padding(_rows(rows), (0, 0, 0, 2), expand=False)), (1 if number else 0, 0, 0, 0), expand=False
        )


def _rows(entries: Sequence[tuple[str, Text]]) -> Table:
    """Labels and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in entries:
        table.add_row(_text(label, LONGEST_NAME), value)
    return table


def _metrics(record: Mapping[str, Any]) -> ConsoleRenderable:
    if not (record["accuracy"]["reported"] and record["metrics"]):
        return Text("no accuracy: ", style="dim") + _text(record["accuracy"]["reason"] or "no metric was computed")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("metric")
    for heading in ("measured", "interval", "published", "difference"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("reproduced")
    for metric in record["metrics"]:
        value, published, difference = _beside(metric)
        interval = metric.get("interval")
        between = _text(summary.format_interval(interval, metric["unit"]) if interval else summary.NOTHING)
        table.add_row(
            _text(metric["name"], LONGEST_NAME), value, between, published, difference, _reproduced(metric["published"])
        )
    return table


def _reproduced(published: Mapping[str, Any] | None) -> Text:
    answer = (published or {}).get("reproduced")
    if answer is None:
        return Text(summary.NOTHING)
    return Text("yes", style="green") if answer else Text("no", style="bold red")


def _percentile_table(record: Mapping[str, Any]) -> Table:
    """A row a percentile: the figure, where it may lie, and what it stays within by MLPerf's rule of early stopping."""
    entries = record["latency"]["percentiles"]
    bounded = any(entry.get("bound") is not None for entry in entries)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    if bounded:
        table.caption = Text("MLPerf's bound: what the percentile stays within at 99 % confidence", style="dim")
        table.caption_justify = "left"
    table.add_column("latency")
    for heading in ("measured", "95 % interval", *(["MLPerf's bound"] if bounded else [])):
        table.add_column(heading, justify="right", overflow="fold")
    for entry, text in zip(entries, _percentiles(record).values(), strict=True):
        interval = entry.get("interval")
        between = summary.format_interval(interval, "ns") if interval else summary.NOTHING
        cells = [text, Text(between), *([Text(summary.format_duration(entry.get("bound")))] if bounded else [])]
        table.add_row(f"p{entry['percentile']:g}", *cells)
    return table


def _latency(record: Mapping[str, Any]) -> list[tuple[str, Text]]:
    """What is to be known of the series beside its percentiles."""
    latency = record["latency"] or {}
    rows = []
    if latency.get("mean") is not None:
        rows.append(("mean", Text(summary.format_duration(latency["mean"]))))
    if latency.get("cv") is not None:
        rows.append(("variation", Text(f"{100 * latency['cv']:.1f} %")))
    if latency.get("outliers"):
        outliers = latency["outliers"]
        rows.append(
            ("outliers", Text(f"{outliers['count']:,} beyond {summary.format_duration(outliers['threshold_ns'])}"))
        )
    steadiness = latency.get("steadiness")
    if steadiness:
        flagged = steadiness["label"] in summary.UNSTEADY
        label = Text(steadiness["label"], style="bold red" if flagged else "")
        rows.append(
            (
                "series",
                Text(": ").join([label, *([_text("; ".join(steadiness["reasons"]))] if steadiness["reasons"] else [])]),
            )
        )
    return rows


def _accuracy(record: Mapping[str, Any]) -> tuple[Text, Text, Text]:
    """Top-1 accuracy, the published figure and the difference."""
    metric = next((entry for entry in record["metrics"] if entry["name"] == "top1"), None)
    if metric is None or not record["accuracy"]["reported"]:
        return Text("not reported", style="dim"), Text(summary.NOTHING), Text(summary.NOTHING)
    return _beside(metric)


def _beside(metric: Mapping[str, Any]) -> tuple[Text, Text, Text]:
    published = metric["published"] or {"value": None, "difference": None}
    unit, difference = metric["unit"], published["difference"]
    return (
        _text(summary.format_figure(metric["value"], unit)),
        _text(summary.format_figure(published["value"], unit)),
        _text(summary.NOTHING if difference is None else summary.format_difference(difference, unit)),
    )


def _percentiles(record: Mapping[str, Any], before_reason: str = " ") -> dict[float, Text]:
    """The record's percentiles, or why one is withheld."""
    latency = record["latency"] or {"queries": 0, "percentiles": ()}
    found = {}
    for entry in latency["percentiles"]:
        text = summary.format_percentile(entry, latency["queries"])
        withheld = entry["value"] is None
        found[entry["percentile"]] = Text(text.replace(" ", before_reason, 1), "dim") if withheld else Text(text)
    return found


def _valid(record: Mapping[str, Any]) -> Text:
    text = Text("valid", style="green") if record["scenario"]["valid"] else Text("invalid", style="bold red")
    label = ((record["latency"] or {}).get("steadiness") or {}).get("label")
    return text + Text(f", {label}", style="yellow") if label in summary.UNSTEADY else text


def _rate(record: Mapping[str, Any]) -> Text:
    throughput = record["throughput"] or {"value": None, "unit": ""}
    return _text(summary.format_rate(throughput["value"], throughput["unit"]))


def _text(value: object, longest: int = LONGEST) -> Text:
    return Text(plain(value, longest))
