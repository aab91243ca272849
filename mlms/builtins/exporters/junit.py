"""JUnit XML, as CI systems read it: a suite for each run, a test case for each thing that it must fulfil.

The elements and attributes are those of the schema that Jenkins' xUnit plugin publishes (junit-10.xsd).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mlms.builtins.exporters.text import TextExporter, section
from mlms.hooks import Component, Exporter, Run

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(runs: Sequence[Run]) -> str:
    """The whole document; a run that didn't finish is an error, a broken load rule or unreproduced figure a failure."""
    root = Element("testsuites", name="mlms")
    suites = [_suite(root, run) for run in runs]
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.6f}")
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}'


def _suite(root: Element, run: Run) -> Element:
    record = run.record
    started = datetime.fromisoformat(record["started_at"].replace("Z", "+00:00"))
    finished = datetime.fromisoformat((record.get("finished_at") or record["started_at"]).replace("Z", "+00:00"))
    seconds = (finished - started).total_seconds()
    suite = SubElement(root, "testsuite", name=_text(run.name), id=run.id)
    suite.set("timestamp", f"{started:%Y-%m-%dT%H:%M:%S}")
    suite.set("time", f"{seconds:.6f}")
    properties = SubElement(suite, "properties")
    for name, value in {"run": run.id, "digest": record["digest"], "mlms": str(record.get("mlms_version"))}.items():
        SubElement(properties, "property", name=name, value=value)
    for row in run.summary:
        SubElement(properties, "property", name=_text(row.label), value=_text(row.value))
    _finished(_case(suite, run, "the evaluation finishes", seconds), run)
    if section(run, "scenario"):
        _valid(_case(suite, run, "the scenario is valid"), run)
    for metric in record["metrics"]:
        if metric.get("published"):
            _reproduced(_case(suite, run, f"{metric['name']} is as published"), metric)
    for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    lines = [f"{row.label}: {row.value}" + (f" ({row.note})" if row.note else "") for row in run.summary]
    SubElement(suite, "system-out").text = _text("\n".join(lines))
    return suite


def _case(suite: Element, run: Run, name: str, seconds: float = 0.0) -> Element:
    return SubElement(suite, "testcase", classname=_text(run.name), name=_text(name), time=f"{seconds:.6f}")


def _finished(case: Element, run: Run) -> None:
    if run.record.get("status") == "finished":
        return
    error = section(run, "error")
    message = _text(error.get("message") or f"the run was {run.record.get('status')}")
    SubElement(case, "error", type=error.get("type") or "Interrupted", message=message).text = _text(
        error.get("hint") or ""
    )


def _valid(case: Element, run: Run) -> None:
    scenario = section(run, "scenario")
    if not scenario["valid"]:
        problems = "\n".join(scenario.get("problems") or ["no reason is recorded"])
        SubElement(case, "failure", type="invalid", message=_text(problems.splitlines()[0])).text = _text(problems)


def _reproduced(case: Element, metric: dict[str, object]) -> None:
    """``reproduced`` is the run's own verdict, made with the interval that the number of samples allows."""
    published = metric["published"]
    assert isinstance(published, dict)
    told = f"{metric['value']} {metric['unit']}, published {published['value']} on {published['dataset']}".strip()
    if published.get("reproduced") is None:
        SubElement(case, "skipped", message=_text(f"not judged: {told}"))
    elif not published["reproduced"]:
        SubElement(case, "failure", type="not reproduced", message=_text(told))


def _text(text: str) -> str:
    """Text without the characters that XML can't hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


COMPONENT: Component[Exporter] = Component(
    "junit", lambda options, context: TextExporter(render), "Test cases for CI: finished, valid, as published."
)
