"""The recorder, and the spans that are matched from its events."""

from __future__ import annotations

import gc
import inspect
import resource
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlms.tracing import recorder as recorder_module
from mlms.tracing.events import THREAD_BITS, Events, PythonEvents, built
from mlms.tracing.recorder import Correlation, Part, Recorder, Spans, match

WAYS = {"C": built(), "Python": PythonEvents}


@pytest.fixture(params=WAYS, autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test of this file is run with both ways to append."""
    made: Callable[[], Events] | None = WAYS[request.param]
    if made is None:
        pytest.skip("built without a C compiler")
    monkeypatch.setattr(recorder_module, "new_events", made)


Tree = list["Tree"]
TREES: st.SearchStrategy[Tree] = st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=30)


def walk(recorder: Recorder, tree: Tree, names: list[int], depth: int = 0) -> int:
    """Record a span for each node of a tree, named by its depth; the number of spans."""
    if depth == len(names):
        names.append(recorder.intern(f"depth {depth}", "layer"))
    count = 1

    def inside() -> None:
        nonlocal count
        for child in tree:
            count += walk(recorder, child, names, depth + 1)

    recorder.wrap(inside, names[depth])()
    return count


def parents_of(tree: Tree, above: int = -1, position: int = 0) -> Iterator[int]:
    """The position of each node's parent, in the order of entry."""
    yield above
    here, position = position, position + 1
    for child in tree:
        found = list(parents_of(child, here, position))
        yield from found
        position += len(found)


def spans_of(recorder: Recorder) -> Spans:
    (part,) = recorder.parts()
    return match(part.events)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TREES, min_size=1, max_size=4))
def test_spans_nest_as_the_calls_did(trees: list[Tree]) -> None:
    recorder, names = Recorder(), []
    count = sum(walk(recorder, tree, names) for tree in trees)
    spans = spans_of(recorder)
    expected: list[int] = []
    for tree in trees:
        expected += parents_of(tree, position=len(expected))
    assert len(spans.start) == count
    assert spans.parent.tolist() == expected
    inner = spans.parent >= 0
    outer = spans.parent[inner]
    assert (spans.start[inner] >= spans.start[outer]).all()
    assert (spans.end[inner] <= spans.end[outer]).all()
    assert (spans.end >= spans.start).all()
    assert not spans.failed.any()


def test_calls_of_one_name_below_one_root_are_counted() -> None:
    recorder = Recorder()
    inner = recorder.wrap(lambda: None, recorder.intern("relu", "layer"))
    outer = recorder.wrap(lambda: [inner(), inner()], recorder.intern("predict", "model"))
    outer()
    outer()
    assert spans_of(recorder).occurrence.tolist() == [0, 0, 1, 0, 0, 1]


def test_a_call_that_raises_is_a_failed_span_and_the_error_goes_on() -> None:
    recorder = Recorder()

    def fail() -> None:
        raise ValueError("no")

    inner = recorder.wrap(fail, recorder.intern("inner", "layer"))
    outer = recorder.wrap(inner, recorder.intern("outer", "model"))
    with pytest.raises(ValueError, match="no"):
        outer()
    assert spans_of(recorder).failed.tolist() == [True, True]


def test_a_block_is_a_span_too() -> None:
    recorder = Recorder()
    with recorder.span(recorder.intern("block", "application")):
        before = perf_counter_ns()
    spans = spans_of(recorder)
    assert spans.start[0] <= before <= spans.end[0]


def test_a_span_that_never_ended_is_left_out_and_what_is_in_it_has_no_parent() -> None:
    events = np.array([[0, 1], [3, 2], [4, 3]])  # the outer one is entered and not left
    spans = match(events)
    assert spans.identifier.tolist() == [1]
    assert spans.parent.tolist() == [-1]


def test_threads_don_t_mix() -> None:
    recorder, barrier = Recorder(), threading.Barrier(4)
    inner = recorder.wrap(lambda: None, recorder.intern("inner", "layer"))

    def work() -> None:
        barrier.wait()
        for _ in range(500):
            outer()

    outer = recorder.wrap(inner, recorder.intern("outer", "model"))
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = list(recorder.parts())
    assert len(parts) == len({int(part.keys[0]) >> THREAD_BITS for part in parts}) == 4
    for part in parts:
        spans = match(part.events)
        assert len(spans.start) == 1000
        assert spans.parent.tolist() == [-1 if place % 2 == 0 else place - 1 for place in range(1000)]


def test_each_span_is_told_to_the_correlation_under_the_key_that_its_part_gives(tmp_path: Path) -> None:
    told: list[int] = []
    open_: list[int] = []

    def push(key: int) -> None:
        told.append(key)
        open_.append(key)

    recorder = Recorder(tmp_path, spill_bytes=0)
    recorder.correlation = Correlation(push, open_.pop)
    inner = recorder.wrap(lambda: None, recorder.intern("inner", "layer"))
    outer = recorder.wrap(inner, recorder.intern("outer", "model"))
    for _ in range(3):
        outer()
        recorder.spill()
    outer()
    assert recorder.spilled == 3
    assert open_ == []
    keys = [part.keys[match(part.events).entry] for part in recorder.parts()]
    assert np.concatenate(keys).tolist() == told
    assert len(set(told)) == 8


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TREES, min_size=2, max_size=6))
def test_what_went_to_disk_comes_back(tmp_path_factory: pytest.TempPathFactory, trees: list[Tree]) -> None:
    recorder, names = Recorder(tmp_path_factory.mktemp("spill"), spill_bytes=1), []
    count = 0
    for tree in trees:
        count += walk(recorder, tree, names)
        recorder.spill()
    assert recorder.spilled == len(trees)
    assert sum(len(match(part.events).start) for part in recorder.parts()) == count


def test_below_the_bound_nothing_goes_to_disk(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.wrap(lambda: None, recorder.intern("one", "layer"))()
    recorder.spill()
    assert recorder.spilled == 0
    assert list(tmp_path.iterdir()) == []


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """A full disk, as far as a process can make one for itself."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_nothing_and_is_told_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, spill_bytes=0)
    once = recorder.wrap(lambda: None, recorder.intern("one", "layer"))
    for _ in range(100):
        once()
    recorder.spill()
    with no_file_over(512):
        for _ in range(100):
            once()
        recorder.spill()
        recorder.add(Part(1, np.array([[0, 1], [1, 2]]), np.zeros(2, np.int64)))
        recorder.spill()
    assert recorder.spilled == 1
    assert sum(len(match(part.events).start) for part in recorder.parts()) == 201
    (note,) = recorder.notes
    assert str(tmp_path) in note
    assert "File too large" in note
    assert len(list(tmp_path.iterdir())) == 1


def test_a_wrapped_function_takes_and_gives_what_it_did() -> None:
    recorder = Recorder()
    wrapped = recorder.wrap(lambda *arguments, **keywords: (arguments, keywords), recorder.intern("one", "layer"))
    assert wrapped(1, 2, a=3) == ((1, 2), {"a": 3})
    assert wrapped() == ((), {})


def test_a_wrapped_method_keeps_its_signature() -> None:
    class Module:
        def forward(self, image: int, *, scale: float = 1.0) -> None: ...

    module, recorder = Module(), Recorder()
    wrapped = recorder.wrap(module.forward, recorder.intern("one", "layer"))
    assert inspect.signature(wrapped) == inspect.signature(module.forward)
    assert wrapped.__wrapped__ == module.forward  # type: ignore[attr-defined]


def test_what_the_correlation_raises_is_raised() -> None:
    def push(key: int) -> None:
        raise OSError("CUPTI is gone")

    recorder = Recorder()
    recorder.correlation = Correlation(push, lambda: None)
    with pytest.raises(OSError, match="CUPTI is gone"):
        recorder.wrap(lambda: None, recorder.intern("one", "layer"))()


def test_recorded_functions_and_their_recorder_are_let_go() -> None:
    """A module that holds its own wrapped method is a loop, which the garbage collector has to see."""

    class Module:
        def forward(self) -> None: ...

    module, recorder = Module(), Recorder()
    module.forward = recorder.wrap(module.forward, recorder.intern("one", "layer"))  # type: ignore[method-assign]
    module.forward()
    gone = weakref.ref(module)
    del module
    gc.collect()
    assert gone() is None


def test_time_is_that_of_the_performance_counter() -> None:
    recorder = Recorder()
    wrapped = recorder.wrap(lambda: None, recorder.intern("one", "layer"))
    for _ in range(100):
        before = perf_counter_ns()
        wrapped()
        after = perf_counter_ns()
        assert before <= spans_of(recorder).start[-1] <= spans_of(recorder).end[-1] <= after
