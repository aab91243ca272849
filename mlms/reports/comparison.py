"""A comparison as text: what its cells say, and Markdown, CSV and JUnit's XML.

``data`` is a comparison as plain values, as ``mlms compare --format json`` prints it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlms.reports.format import plain
from mlms.runs import summary

COLUMNS = (
    "metric",
    "unit",
    "kind",
    "baseline",
    "value",
    "effect",
    "low",
    "high",
    "confidence",
    "method",
    "p",
    "verdict",
    "note",
)
_MORE = 40
"""Differing settings shown of a run; JSON has all."""


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of one run against the baseline, as text."""

    metric: str
    baseline: str
    value: str
    change: str
    verdict: str
    note: str


def lines(contrast: Mapping[str, Any]) -> list[Line]:
    """A line for every metric that was compared."""
    return [
        Line(
            effect["metric"],
            figure(effect["baseline"], effect["unit"]),
            figure(effect["value"], effect["unit"]),
            change(effect),
            effect["verdict"],
            effect["note"],
        )
        for effect in contrast["effects"]
    ]


def figure(value: float, unit: str) -> str:
    """A figure in its unit.

    >>> figure(1.5e6, "ns"), figure(87.25, "samples/s"), figure(98.5, "%")
    ('1.500 ms', '87.2 samples/s', '98.5000 %')
    """
    if unit == "ns":
        return summary.format_duration(value)
    return summary.format_rate(value, unit) if unit == "samples/s" else summary.format_figure(value, unit)


def change(effect: Mapping[str, Any]) -> str:
    """A ratio or a difference with its interval.

    >>> change({"kind": "ratio", "effect": 1.05, "unit": "ns", "interval": {"low": 1.01, "high": 1.0949}})
    '1.050x [1.010, 1.095]'
    """
    interval = effect["interval"]
    if effect["kind"] == "ratio":
        between = f" [{interval['low']:.3f}, {interval['high']:.3f}]" if interval else ""
        return f"{effect['effect']:.3f}x{between}"
    between = f" [{interval['low']:+.2f}, {interval['high']:+.2f}]".replace("-", summary.MINUS) if interval else ""
    return f"{summary.format_difference(effect['effect'], effect['unit'])}{between}"


def remarks(data: Mapping[str, Any]) -> list[str]:
    """What a reader has to know first: other environments, forced comparisons, runs of doubtful figures."""
    flags = [f"{subject['label']}: {flag}" for subject in data["subjects"] for flag in subject["flags"]]
    return [*data["notes"], *flags]


def differences(contrast: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, the baseline's value and this run's, of settings and environment; at most ``_MORE`` of each."""
    for kind, prefix in (("settings", ""), ("environment", "environment.")):
        for setting in contrast[kind][:_MORE]:
            yield prefix + setting["key"], plain(setting["baseline"], 60), plain(setting["other"], 60)
        if len(contrast[kind]) > _MORE:
            yield f"{prefix}…", f"{len(contrast[kind]) - _MORE} more keys", ""


def title(subject: Mapping[str, Any]) -> str:
    """A subject's label, with its repeats."""
    return f"{subject['label']} ({subject['repeats']} repeats)" if subject["repeats"] > 1 else str(subject["label"])


def markdown(data: Mapping[str, Any]) -> str:
    """GitHub's Markdown: a table a run."""
    baseline = data["subjects"][0]
    parts = [f"## Comparison with {_cell(title(baseline))}", ""]
    parts += [f"> **Note:** {_cell(remark)}  " for remark in remarks(data)]
    for subject, contrast in zip(data["subjects"][1:], data["contrasts"], strict=True):
        parts += ["", f"### {_cell(title(subject))}", ""]
        if contrast["effects"]:
            parts += ["| metric | baseline | this run | change | verdict |", "| --- | ---: | ---: | ---: | --- |"]
        parts += [
            f"| {_cell(line.metric)} | {line.baseline} | {line.value} | {line.change} | {line.verdict} |"
            for line in lines(contrast)
        ]
        parts += ["", *(f"- {_cell(note)}" for note in contrast["notes"])]
        keys = list(differences(contrast))
        if keys:
            parts += ["", "| what differs | baseline | this run |", "| --- | --- | --- |"]
            parts += [f"| {_cell(key)} | {_cell(one)} | {_cell(two)} |" for key, one, two in keys]
    return "\n".join(parts).rstrip() + "\n"


def csv_text(data: Mapping[str, Any]) -> str:
    """A line a run and metric; figures as plain numbers."""
    out = io.StringIO()
    writer = csv.DictWriter(out, ["baseline_run", "run", *COLUMNS], lineterminator="\n")
    writer.writeheader()
    for contrast in data["contrasts"]:
        for effect in contrast["effects"]:
            row = {**effect, **(effect["interval"] or {})}
            named = {"baseline_run": _safe(data["subjects"][0]["label"]), "run": _safe(contrast["label"])}
            writer.writerow({**named, **{column: _safe(row.get(column)) for column in COLUMNS}})
    return out.getvalue()


def junit(data: Mapping[str, Any], thresholds: Sequence[str], hits: Sequence[Mapping[str, str]]) -> str:
    """JUnit's XML: a test case for every run and threshold, or every run and metric where there are no thresholds."""
    from xml.etree import ElementTree

    cases = [
        (contrast["label"], name)
        for contrast in data["contrasts"]
        for name in (thresholds or [effect["metric"] for effect in contrast["effects"]])
    ]
    failures = {(hit["label"], hit["threshold"]): hit["message"] for hit in hits}
    suite = ElementTree.Element(
        "testsuite", name="mlms compare", tests=str(len(cases)), failures=str(len(failures)), errors="0", skipped="0"
    )
    for label, name in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=plain(label), name=plain(name))
        message = failures.get((label, name))
        if message is not None:
            ElementTree.SubElement(case, "failure", message=plain(message)).text = plain(message, 2000)
    text = [plain(remark, 2000) for remark in remarks(data)]
    for contrast in data["contrasts"]:
        text += [f"{plain(contrast['label'])}: {line.metric} {line.change} {line.verdict}" for line in lines(contrast)]
    ElementTree.SubElement(suite, "system-out").text = "\n".join(map(plain, text))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _cell(text: object) -> str:
    """Text that stays in its cell and is nothing but text."""
    escaped = plain(text, 500).replace("\\", "\\\\")
    for character in "|*_`<>[]":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


def _safe(value: Any) -> Any:
    """A spreadsheet takes text that begins so for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
