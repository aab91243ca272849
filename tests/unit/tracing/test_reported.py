from __future__ import annotations

from collections.abc import Sequence

import pytest

from mlms.testing.recording import Span, spans_of
from mlms.tracing.recorder import Recorder
from mlms.tracing.reported import Reported, Reports

START, END = 10_000_000, 20_000_000


def told(*reported: Reported, predictions: Sequence[tuple[int, int]] = ((START, END),)) -> list[Span]:
    """The spans of predictions that all had the same reported, at the same place within."""
    recorder = Recorder()
    reports = Reports(recorder, recorder.intern("predict", "model"))
    for start, end in predictions:
        moved = [Reported(r.name, r.level, r.start_ns + start, r.end_ns + start, r.attributes) for r in reported]
        reports.add(start, end, moved)
    reports.flush()
    return spans_of(recorder)


def layer(name: str, start: int, end: int, thread: int | None = None) -> Reported:
    return Reported(name, "layer", start, end, {} if thread is None else {"thread.id": thread})


def parents(spans: Sequence[Span]) -> dict[str, str | None]:
    return {span.name: span.parent and span.parent.name for span in spans}


def test_what_lies_within_is_below() -> None:
    spans = told(layer("outer", 1000, 5000), layer("inner", 2000, 3000), layer("next", 5000, 6000))
    assert parents(spans) == {"predict": None, "outer": "predict", "inner": "outer", "next": "predict"}


def test_what_ran_at_once_in_several_threads_lies_side_by_side_and_is_not_cut_off() -> None:
    spans = told(
        layer("a", 1000, 5000, 1), layer("b", 2000, 3000, 2), layer("c", 4000, 7000, 2), layer("in a", 1500, 2500, 1)
    )
    assert parents(spans) == {"predict": None, "a": "predict", "b": "predict", "c": "predict", "in a": "a"}
    assert {span.name: span.end_ns - span.start_ns for span in spans} == {
        "predict": END - START, "a": 4000, "b": 1000, "c": 3000, "in a": 1000
    }  # fmt: skip
    threads = {span.name: span.attributes["thread.id"] for span in spans}
    assert threads["b"] == threads["c"] == 2
    assert threads["a"] == threads["in a"] == threads["predict"]


def test_threads_that_take_turns_work_within_the_framework_s_span() -> None:
    execute = Reported("execute", "framework", 500, 8000)
    spans = told(layer("b", 3000, 5000, 2), execute, layer("a", 1000, 3000, 1), layer("c", 5000, 6000, 1))
    assert parents(spans) == {"predict": None, "execute": "predict", "a": "execute", "b": "execute", "c": "execute"}


def test_each_lies_below_its_own_prediction() -> None:
    spans = told(layer("a", 0, 4000, 1), layer("b", 2000, 9000, 2), predictions=[(START, END), (END, END + 5000)])
    below = [span for span in spans if span.level == "layer"]
    assert len(below) == 4
    for span in below:
        assert span.parent is not None
        assert span.parent.level == "model"
        assert span.parent.start_ns <= span.start_ns <= span.end_ns <= span.parent.end_ns
    assert {span.attributes["mlms.layer.call"] for span in below} == {0}


@pytest.mark.parametrize("thread", [None, 7])
def test_what_sticks_out_of_its_prediction_is_cut_off(thread: int | None) -> None:
    spans = told(layer("late", 9_000_000, 30_000_000, thread), layer("after", 10_000_001, 11_000_000, thread))
    assert parents(spans) == {"predict": None, "late": "predict"}
    (late,) = (span for span in spans if span.name == "late")
    assert late.parent is not None
    assert late.end_ns == late.parent.end_ns


def test_names_that_utf_8_can_t_hold_are_written_out() -> None:
    assert [span.name for span in told(layer("\udcff", 1000, 5000))] == ["predict", r"\udcff"]
