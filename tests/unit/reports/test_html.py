from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fakes.stored_run import StoredRun, stored_run
from mlms.reports.html import render_run

EXPECTED = Path(__file__).parent / "expected"
VOID = {"meta", "path", "rect", "link", "br", "hr", "img", "input"}
BLOCKS = {"p", "li", "tr", "h1", "h2", "h3", "figcaption", "dt", "summary", "title", "button", "div"}
HOSTILE = "<script>alert('x')</script>\"'&\x1b[31m\x00\u202e"


class Page(HTMLParser):
    """Reads a page: every element with its attributes, its visible text by lines, and whether its tags balance."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.scripts: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in BLOCKS:
            self.pieces.append("\n")
        elif tag in ("td", "th", "dd", "span"):
            self.pieces.append(" ")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.pieces.append(re.sub(r"\s+", " ", data))

    @property
    def text(self) -> str:
        lines = (re.sub(r" +", " ", line).strip() for line in "".join(self.pieces).split("\n"))
        return "\n".join(line for line in lines if line) + "\n"


def render(run: StoredRun) -> str:
    return render_run(run.record, run.latencies, run.predictions, run.spans)


def check_page(document: str) -> Page:
    """What holds of every report: sound, self-contained, and with nothing to run but its own script."""
    page = Page(document)
    assert page.unbalanced == []
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        href = attributes.get("href")
        assert href is None or tag == "a"
        assert href is None or href.startswith(("https://", "http://")) or ":" not in href
    assert "url(" not in document
    assert "@import" not in document
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes]
    assert policy is not None
    assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    named = [attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes]
    assert set(named) <= set(identifiers)
    document.encode("utf-8")
    return page


def test_the_whole_text_of_a_report() -> None:
    run = stored_run(200, layers=True)
    run.record["warnings"] = ["the second warm-up query took long"]
    assert check_page(render(run)).text == (EXPECTED / "run.txt").read_text("utf-8")


def test_the_whole_text_of_a_report_with_little_in_it() -> None:
    run = stored_run(5)
    run.record["metrics"] = []
    run.record["accuracy"] = {"reported": False, "reason": "the weights are random"}
    run.record["scenario"].update(valid=False, problems=["5 queries of at least 1,024", "0.1 s of at least 2 s"])
    run.record["trace"].update(level="none", trace_id=None, spans=0)
    document = render_run(run.record, run.latencies, None, run.spans.head(0))
    assert check_page(document).text == (EXPECTED / "little.txt").read_text("utf-8")


def test_charts_are_drawn_and_described() -> None:
    page = check_page(render(stored_run()))
    images = [attributes for _, attributes in page.elements if attributes.get("role") == "img"]
    assert len(images) == 3
    assert all(attributes["aria-label"] for attributes in images)
    assert len([tag for tag, _ in page.elements if tag == "figcaption"]) == 7


@pytest.mark.parametrize("path", [("name",), ("model", "name"), ("dataset", "name"), ("framework", "installed")])
def test_hostile_names_are_shown_as_text(path: tuple[str, ...]) -> None:
    run = stored_run(50)
    target = run.record
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = HOSTILE
    page = check_page(render(run))
    assert "<script>alert('x')</script>\"'&\\x1b[31m\\x00\\u202e" in page.text


def test_hostile_text_everywhere_else() -> None:
    run = stored_run(50)
    run.record["warnings"] = [HOSTILE]
    run.record["steps"][0]["name"] = HOSTILE
    run.record["environment"]["variables"] = {HOSTILE: HOSTILE}
    run.record["evaluation"]["model"]["description"] = HOSTILE
    run.record["evaluation"]["dataset"]["labels"] = [HOSTILE + str(index) for index in range(10)]
    run.record["scenario"]["problems"] = [HOSTILE]
    run.record["metrics"][0]["name"] = run.record["metrics"][0]["unit"] = HOSTILE
    run.record["metrics"][0]["published"]["source"] = "javascript:alert(1)"
    run.record["files"] = {"log": "javascript:alert(1)", "spans": "../" + HOSTILE, "none": None}
    spans = run.spans.with_columns(name=pl.lit(HOSTILE), attributes=pl.lit(HOSTILE), status=pl.lit("error"))
    predictions = run.predictions.with_columns(sample=pl.lit(HOSTILE))
    document = render_run(run.record, run.latencies, predictions, spans)
    check_page(document)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", document)
    assert document.count("<script>") == 1


def test_long_names_are_cut() -> None:
    run = stored_run(50)
    run.record["name"] = run.record["model"]["name"] = "n" * 10_000
    run.record["evaluation"]["dataset"]["labels"] = ["l" * 10_000] * 10
    spans = run.spans.with_columns(name=pl.lit("s" * 10_000))
    page = check_page(render_run(run.record, run.latencies, run.predictions, spans))
    assert max(map(len, page.text.split())) <= 500
    assert len(page.text) < 100_000


@pytest.mark.parametrize("layers", [False, True])
def test_large_runs_stay_small_and_quick(layers: bool) -> None:
    run = stored_run(10_000 if layers else 100_000, layers=layers)
    assert run.spans.height > 100_000
    begin = time.perf_counter()
    document = render(run)
    assert time.perf_counter() - begin < 5
    assert len(document.encode()) < 1_500_000
    check_page(document)


def test_spans_of_100_000_names_stay_small() -> None:
    run = stored_run(20)
    count = 100_000
    spans = pl.DataFrame(
        {
            "trace_id": ["c0"] * count,
            "span_id": [str(index) for index in range(count)],
            "parent_id": [str(index // 50 - 1) if index >= 50 else None for index in range(count)],
            "name": [f"name{index}" for index in range(count)],
            "level": ["layer"] * count,
            "start_ns": range(count),
            "end_ns": range(1, count + 1),
            "status": ["unset"] * count,
            "status_message": pl.Series([None] * count, dtype=pl.String),
            "attributes": ['{"note": "' + "x" * 1000 + '"}'] * count,
        }
    )
    begin = time.perf_counter()
    document = render_run(run.record, run.latencies, run.predictions, spans)
    assert time.perf_counter() - begin < 5
    assert len(document.encode()) < 1_500_000
    assert "are left out here for length" in check_page(document).text


def change(record: dict[str, Any], **changes: Any) -> None:
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = record
        for key in parents:
            target = target[key]
        target[last] = value


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"metrics": []}, "No metric was computed."),
        ({"latency": None, "throughput": None}, "Throughput\nnot measured"),
        ({"throughput__value": None}, "Throughput\nnot measured"),
        ({"latency__percentiles": []}, "median withheld"),
        ({"latency__stdev": None}, "standard deviation -"),
        ({"steps": []}, "Where the time went\nSpans"),
        ({"framework__installed": None}, "installed torch -"),
        ({"manifest__git": None, "manifest__path": None}, "manifest.git -"),
        ({"environment": {"fingerprint": "f"}}, "fingerprint f"),
        ({"dataset__evaluated": 100}, "100 of 450 samples of digits-test."),
        ({"status": "interrupted"}, "This run is interrupted"),
        (
            {"status": "failed", "error": {"type": "ModelError", "message": "boom", "hint": "mend it"}},
            "This run is failed\nModelError: boom (mend it)",
        ),
        (
            {"trace__otlp": {"endpoint": "http://collector:4317", "sent": 3, "error": "refused"}},
            "Export failed: refused (http://collector:4317, 3 of 57 spans sent).",
        ),
        (
            {"trace__otlp": {"endpoint": "http://collector:4317", "sent": 57, "error": None}},
            "57 spans sent to http://collector:4317.",
        ),
    ],
)
def test_what_may_be_missing_or_fail(changes: dict[str, Any], shown: str) -> None:
    run = stored_run(40)
    change(run.record, **changes)
    run.record["trace"]["spans"] = run.spans.height
    assert shown in check_page(render(run)).text


def test_a_metric_may_lack_its_value_and_its_difference() -> None:
    run = stored_run(40)
    run.record["metrics"][0].update(
        value=None, interval=None, published={"value": 95.5, "dataset": "d", "source": None, "difference": None}
    )
    assert "top1 - 95.5000 % -" in check_page(render(run)).text


@pytest.mark.parametrize("label", ["drifting", "bimodal", "not steady"])
def test_an_unsteady_series_is_flagged_at_its_plot(label: str) -> None:
    run = stored_run(200)
    assert "tell this series" not in check_page(render(run)).text
    run.record["latency"]["steadiness"].update(label=label, reasons=["latency gets 24% slower"])
    text = check_page(render(run)).text
    heading = f"Latency\n{label.capitalize()}: one figure doesn't tell this series\nLatency gets 24% slower."
    assert heading in text


@pytest.mark.parametrize(("answer", "shown"), [(True, "pp reproduced"), (False, "pp not reproduced"), (None, "pp")])
def test_whether_a_published_figure_was_reproduced(answer: bool | None, shown: str) -> None:
    run = stored_run(40)
    run.record["metrics"][0]["published"]["reproduced"] = answer
    line = next(line for line in check_page(render(run)).text.splitlines() if line.startswith("top1"))
    assert line.endswith(shown)


def test_a_record_of_before_intervals_is_still_drawn() -> None:
    run = stored_run(200)
    for key in ("cv", "outliers", "steadiness"):
        del run.record["latency"][key]
    for entry in (*run.record["latency"]["percentiles"], *run.record["metrics"]):
        entry.pop("interval")
        entry.pop("bound", None)
    assert "p50 81.31 µs\n" in check_page(render(run)).text


def test_no_tables_at_all() -> None:
    text = check_page(render_run(stored_run(40).record, None, None, None)).text
    assert "Too few measured queries to draw their distribution." in text
    assert "No spans were recorded." in text
    assert "Predictions" not in text


def test_predictions_without_a_mistake() -> None:
    run = stored_run(40)
    right = run.predictions.filter(pl.col("correct"))
    text = check_page(render_run(run.record, run.latencies, right, run.spans)).text
    assert f"All {right.height} samples were classified correctly." in text
    assert "Most frequent confusions" not in text
