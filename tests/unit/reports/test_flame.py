from __future__ import annotations

import base64
import gzip
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.chromium import Page, chromium
from fakes.span_tables import nested, repeated, span, table
from fakes.stored_run import stored_run
from mlms.reports import flame
from mlms.reports.flame import Flame, pack
from mlms.reports.html import render_run

Array = npt.NDArray[Any]
HOSTILE = "</canvas><img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>\u202e\x1b"


@dataclass
class View:
    """What the script makes of one view."""

    labels: list[list[str]]
    ends: list[int]
    extent: float
    start: Array
    duration: Array
    label: Array
    parent: Array
    failed: Array
    own: dict[str, Array]

    def __len__(self) -> int:
        return len(self.start)

    def name(self, box: int) -> str:
        return self.labels[self.label[box]][0]

    def above(self, box: int) -> str | None:
        return None if self.parent[box] < 0 else self.name(self.parent[box])


def unpack(data: str) -> tuple[dict[str, Any], View, View]:
    """Read what ``pack`` made by the form that its module documents, as the script does."""
    whole = gzip.decompress(base64.b64decode(data))
    length = int(np.frombuffer(whole, "<f8", 1)[0])
    header = json.loads(whole[8 : 8 + length])
    place = 8 + length

    def column(kind: str, count: int) -> Array:
        nonlocal place
        values = np.frombuffer(whole, kind, count, place)
        place += -(-values.nbytes // 8) * 8
        return values

    views = []
    for number, made in enumerate(header["views"]):
        count = made["boxes"]
        start, duration = np.cumsum(column("<f8", count)), column("<f8", count)
        label, back, failed = (column("<i4", count) for _ in range(3))
        parent = np.where(back == 0, -1, np.arange(count) - back)
        own = {("attributes" if number else "count"): column("<i4", count)}
        if not number:
            own |= {"total": column("<f8", count), "self": column("<f8", count)}
        views.append(View(header["labels"], made["rows"], made["extent"], start, duration, label, parent, failed, own))
    assert place == len(whole)
    return header, views[0], views[1]


def packed(spans: pl.DataFrame) -> Flame:
    made = pack(spans)
    assert made is not None
    return made


def check_rows(view: View) -> None:
    """What the script's bisection relies on: in a row, starts and ends never go back and no box is over another."""
    assert (view.ends[-1] if view.ends else 0) == len(view)
    begin = 0
    for end in view.ends:
        starts, ends = view.start[begin:end], (view.start + view.duration)[begin:end]
        assert (np.diff(starts) >= 0).all()
        assert (ends[:-1] <= starts[1:]).all()
        begin = end
    assert (view.duration >= 0).all()
    assert (view.parent < len(view)).all()


NAMES = st.sampled_from(["evaluate", "predict", "conv", "слой", HOSTILE])
SPANS = st.lists(
    st.tuples(NAMES, st.integers(-1, 12), st.integers(0, 60), st.integers(-3, 40), st.booleans()), max_size=25
)


@given(SPANS)
def test_every_span_is_packed_and_comes_back(drawn: list[tuple[str, int, int, int, bool]]) -> None:
    rows = []
    for number, (name, above, start, took, failed) in enumerate(drawn):
        parent = None if above < 0 else above  # may be itself, a later span, or one that isn't there
        rows.append(span(number, parent, name, "layer", 10**18 + start, 10**18 + start + took, {"n": number}))
        rows[-1]["status"] = "error" if failed else "unset"
    frame = table(rows).frame
    made = pack(frame)
    if made is None:
        assert not rows
        return
    header, graph, timeline = unpack(made.data)
    check_rows(graph)
    check_rows(timeline)
    assert (made.spans, made.drawn, made.bare, made.paths_omitted) == (len(rows), len(rows), 0, 0)
    zero = min(start for _, _, start, _, _ in drawn)
    expected = Counter(
        (number, start - zero, max(took, 0), failed) for number, (_, _, start, took, failed) in enumerate(drawn)
    )
    found = Counter(
        (int(header["attributes"][timeline.own["attributes"][box]][1]), *values)
        for box, values in enumerate(
            zip(timeline.start.tolist(), timeline.duration.tolist(), timeline.failed.tolist(), strict=True)
        )
    )
    assert found == expected
    assert graph.own["count"].sum() == len(rows)
    assert graph.own["self"].sum() <= (roots := graph.own["total"].sum())
    assert graph.failed.sum() == sum(failed for *_, failed in drawn)
    assert graph.extent <= max(1, roots)


def test_parents_names_and_kinds() -> None:
    layer = {"mlms.layer.type": "Conv2d"}
    frame = table(
        [
            span(0, None, "evaluate", "application", 0, 100, {}),
            span(1, 0, "predict", "model", 10, 50, {}),
            span(2, 1, "conv1", "layer", 12, 30, layer),
            span(3, 2, "aten::conv2d", "operator", 13, 29, {}),
            span(4, 0, "predict", "model", 50, 100, {}),
            span(5, 4, "conv1", "layer", 60, 70, layer),
        ]
    ).frame
    header, graph, timeline = unpack(packed(frame).data)
    assert sorted(header["labels"]) == [
        ["aten::conv2d", "operator", "aten::conv2d"],
        ["conv1", "layer", "Conv2d"],
        ["evaluate", "application", "application"],
        ["predict", "model", "model"],
    ]
    lines = [(timeline.name(box), timeline.above(box), timeline.start[box]) for box in range(len(timeline))]
    assert lines == [
        ("evaluate", None, 0),
        ("predict", "evaluate", 10),
        ("predict", "evaluate", 50),
        ("conv1", "predict", 12),
        ("conv1", "predict", 60),
        ("aten::conv2d", "conv1", 13),
    ]
    boxes = [(graph.name(box), graph.own["count"][box], graph.own["total"][box]) for box in range(len(graph))]
    assert boxes == [("evaluate", 1, 100), ("predict", 2, 90), ("conv1", 2, 28), ("aten::conv2d", 1, 16)]


def test_children_that_overlap_are_made_to_fit_their_parent() -> None:
    frame = table(
        [
            span(0, None, "measure", "application", 0, 100, {}),
            span(1, 0, "a", "model", 0, 100, {}),
            span(2, 0, "b", "model", 0, 100, {}),
        ]
    ).frame
    _, graph, timeline = unpack(packed(frame).data)
    assert graph.duration.tolist() == [100, 50, 50]
    assert graph.own["total"].tolist() == [100, 100, 100]
    assert len(timeline.ends) == 3


def test_a_failure_tells_its_message() -> None:
    header, _, timeline = unpack(packed(nested(3, 2).frame).data)
    (box,) = np.flatnonzero(timeline.failed)
    assert header["attributes"][timeline.own["attributes"][box]] == ["error", "out of luck", "mlms.query", "1"]


@pytest.mark.parametrize("layers", [False, True])
def test_100_000_spans_are_small(layers: bool) -> None:
    run = stored_run(8_200 if layers else 98_000, layers=layers)
    begin = time.perf_counter()
    made = packed(run.spans)
    assert time.perf_counter() - begin < 5
    assert len(made.data) < 1_500_000
    assert (made.drawn, made.bare) == (run.spans.height, 0)


def test_above_the_bound_whole_predictions_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flame, "SPANS", 100)
    rows = [
        span(0, None, "evaluate", "application", 0, 10_000, {}),
        span(1, 0, "warm_up", "application", 0, 2_000, {}),
        span(2, 0, "measure", "application", 2_000, 9_900, {}),
    ]
    for query in range(20):
        begin, took = (
            100 * query if query < 2 else 300 * query + 2_000,
            {1: 99, 7: 80, 9: 55}.get(query, 50 + query % 2),
        )
        number = len(rows)
        rows.append(span(number, 1 if query < 2 else 2, "predict", "model", begin, begin + took, {"query": query}))
        for layer in range(9):
            rows.append(span(len(rows), number, f"layer{layer}", "layer", begin + 5 * layer, begin + 5 * layer + 5, {}))
    made = packed(table(rows).frame)
    header, graph, timeline = unpack(made.data)
    assert (made.spans, made.drawn, made.predictions, made.whole) == (203, 93, 20, 9)
    assert graph.own["count"].sum() == 203
    predictions = [box for box in range(len(timeline)) if timeline.name(box) == "predict"]
    kept = {int(header["attributes"][timeline.own["attributes"][box]][1]) for box in predictions}
    median = sorted(range(2, 20), key=lambda query: ({7: 80, 9: 55}.get(query, 50 + query % 2), query))[9]
    assert kept == {7, median, *[query for query in range(2, 20) if query not in (7, median)][:7]}
    layers = Counter(timeline.parent[box] for box in range(len(timeline)) if timeline.name(box).startswith("layer"))
    assert layers == dict.fromkeys(predictions, 9)


def test_a_prediction_above_the_bound_keeps_its_outer_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flame, "SPANS", 10)
    made = packed(nested(1, 30).frame)
    _, _, timeline = unpack(made.data)
    assert (made.drawn, made.whole, made.predictions) == (10, 0, 1)
    assert [timeline.name(box) for box in range(2)] == ["evaluate", "predict"]


def test_steps_alone_above_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flame, "SPANS", 10)
    rows = [span(0, None, "evaluate", "application", 0, 99, {})]
    rows += [span(number, 0, "decode", "application", number, number + 1, {}) for number in range(1, 50)]
    made = packed(table(rows).frame)
    assert (made.drawn, made.whole, made.predictions) == (10, 0, 0)


def test_a_million_spans_are_bounded() -> None:
    made = packed(repeated(1_000_000).frame)
    assert (made.spans, made.drawn, made.whole) == (1_000_000, flame.SPANS, flame.SPANS // 50)
    assert len(made.data) < 1_500_000


def test_names_and_attributes_without_end_are_bounded() -> None:
    count = 60_000
    number = pl.int_range(count).cast(pl.String)
    frame = repeated(count).frame.with_columns(
        name=number + pl.lit("n" * 1000), attributes=pl.lit('{"note":"') + number + pl.lit("x" * 500 + '"}')
    )
    made = packed(frame)
    header, _, _ = unpack(made.data)
    assert made.paths_omitted == count - flame.PATHS
    assert 0 < made.bare < count
    assert sum(len(label[0]) for label in header["labels"]) <= flame.TEXT
    assert sum(len(cell) for text in header["attributes"] for cell in text) <= flame.TEXT + 1000
    assert len(made.data) < 4_000_000


def test_identifiers_that_are_none_leave_the_view_out() -> None:
    frame = nested(2, 2).frame.with_columns(span_id=pl.lit("x"))
    assert pack(frame) is None
    assert pack(frame.head(0)) is None


def open_page(page: Page, document: str, folder: Path) -> None:
    (folder / "report.html").write_text(document, "utf-8")
    page.open((folder / "report.html").as_uri())
    page.until("document.querySelector('.flame')?.dataset.drawn", 60)


@pytest.mark.slow
def test_the_page_draws_100_000_spans_smoothly(tmp_path: Path) -> None:
    run = stored_run(8_200, layers=True)
    document = render_run(run.record, run.latencies, run.predictions, run.spans)
    profile = tmp_path / "profile"
    try:
        with chromium(profile) as page:
            open_page(page, document, tmp_path)
            drive = """(async () => {
                const figure = document.querySelector('.flame'), canvas = figure.querySelector('canvas');
                const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
                const pressed = async (key) => {
                    canvas.dispatchEvent(new KeyboardEvent('keydown', { key }));
                    await frame();
                    return Number(figure.dataset.frame);
                };
                figure.querySelector('[data-view="1"]').click();
                await frame();
                const times = [], drawn = [Number(figure.dataset.drawn)];
                for (const key of '+++++++++ddddaaaa---------') {
                    times.push(await pressed(key));
                    drawn.push(Number(figure.dataset.drawn));
                }
                const box = figure.querySelector('input');
                box.value = 'CONV';
                box.dispatchEvent(new Event('input'));
                await frame();
                const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                const colours = new Set();
                for (let i = 0; i < pixels.length; i += 4) colours.add(pixels.slice(i, i + 3).join());
                return { times, drawn, found: figure.querySelector('.found').textContent, colours: colours.size };
            })()"""
            seen = page.evaluate(drive)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    assert min(seen["drawn"]) > 100
    assert max(seen["drawn"]) < 20_000
    assert sorted(seen["times"])[len(seen["times"]) // 2] < 16
    assert seen["found"].startswith("16,400 spans, ")
    assert seen["colours"] > 4


@pytest.mark.slow
def test_the_page_is_worked_by_keyboard_and_takes_no_name_for_markup(tmp_path: Path) -> None:
    run = stored_run(20)
    rows = [
        span(0, None, "evaluate", "application", 0, 1000, {}),
        span(1, 0, HOSTILE, "model", 200, 700, {HOSTILE: HOSTILE}),
        span(2, 0, "score", "application", 700, 900, {}),
    ]
    document = render_run(run.record, run.latencies, run.predictions, table(rows).frame)
    assert "taken" not in document.split('class="stage"')[0].split('class="flame"')[1]
    profile = tmp_path / "profile"
    try:
        with chromium(profile) as page:
            open_page(page, document, tmp_path)
            press = """(...keys) => {
                const figure = document.querySelector('.flame');
                const canvas = figure.querySelector('canvas');
                for (const key of keys) canvas.dispatchEvent(new KeyboardEvent('keydown', { key }));
                return figure.querySelector('.tip').innerText;
            }"""
            page.evaluate("document.querySelector('[data-view=\"1\"]').click()")
            assert page.evaluate(f"({press})('ArrowDown')").startswith("evaluate\napplication\n1.000 µs, at 0 ns")
            told = page.evaluate(f"({press})('ArrowDown')")
            assert "500 ns, at 200 ns\n50.0 % of evaluate" in told
            assert told.startswith("</canvas><img src=x onerror")
            assert page.evaluate(f"({press})('ArrowRight')").startswith("score\n")
            assert page.evaluate(f"({press})('ArrowUp')").startswith("evaluate\n")
            assert page.evaluate(f"({press})('Escape')") == ""
            assert page.evaluate("document.title") != "taken"
            assert page.evaluate("document.querySelectorAll('main img').length") == 0
            page.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=2, mobile=False)
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
            assert page.until("document.querySelector('canvas').width > 600", 20)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
