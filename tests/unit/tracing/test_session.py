import random
import subprocess
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from mlms.tracing import attributes
from mlms.tracing.session import Tracing

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACEPARENT", "TRACESTATE", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def test_steps_nest_and_carry_their_attributes() -> None:
    tracing = Tracing("application")
    with tracing.span("evaluation", batch=2, skipped=None, **{"mlms.names": ["a", "b"]}) as root:
        with tracing.span("load") as load:
            load.set(bytes=10, path=object)
        assert load.trace_id == root.trace_id == tracing.trace_id
    first, second = tracing.finish().frame.rows(named=True)
    assert (first["name"], first["parent_id"], first["span_id"]) == ("evaluation", None, root.span_id)
    assert (second["name"], second["parent_id"], second["span_id"]) == ("load", root.span_id, load.span_id)
    assert first["start_ns"] <= second["start_ns"] <= second["end_ns"] <= first["end_ns"]
    assert {first["level"], second["level"]} == {"application"}
    assert attributes.loads(first["attributes"]) == {"batch": 2, "mlms.names": ["a", "b"]}
    assert attributes.loads(second["attributes"]) == {"bytes": 10, "path": "<class 'object'>"}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_marks_its_span_and_goes_on(kind: type[BaseException]) -> None:
    tracing = Tracing("model")
    with pytest.raises(kind, match="broken"), tracing.span("load"):
        raise kind("broken")
    (row,) = tracing.finish().frame.rows(named=True)
    assert (row["status"], row["status_message"]) == ("error", f"{kind.__name__}: broken")
    kept = attributes.loads(row["attributes"])
    assert (kept["error.type"], kept["exception.message"]) == (kind.__name__, "broken")
    assert "raise kind" in kept["exception.stacktrace"]


def test_a_caller_s_own_span_is_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    with TracerProvider().get_tracer("theirs").start_as_current_span("outer") as outer:
        tracing = Tracing("application")
        with tracing.span("evaluation"):
            pass
    (row,) = tracing.finish().frame.rows(named=True)
    assert row["parent_id"] == f"{outer.get_span_context().span_id:016x}"
    assert row["trace_id"] == tracing.trace_id == f"{outer.get_span_context().trace_id:032x}"


def test_traceparent_is_the_parent_even_when_it_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT[:-2] + "00")
    tracing = Tracing("application")
    with tracing.span("evaluation"):
        pass
    (row,) = tracing.finish().frame.rows(named=True)
    assert (row["trace_id"], row["parent_id"]) == (TRACEPARENT[3:35], TRACEPARENT[36:52])


def test_a_malformed_traceparent_starts_a_new_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", "00-nonsense")
    tracing = Tracing("application")
    with tracing.span("evaluation") as root:
        pass
    assert root.trace_id == tracing.trace_id
    assert tracing.finish().frame["parent_id"].to_list() == [None]


def test_spans_of_threads_are_of_the_same_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", TRACEPARENT)
    tracing = Tracing("application")

    def work() -> None:
        for _ in range(50):
            with tracing.span("work"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frame = tracing.finish().frame
    assert frame.height == frame["span_id"].n_unique() == 200
    assert frame["parent_id"].unique().to_list() == [TRACEPARENT[36:52]]


def test_spans_inside_a_step_of_a_caller_s_tracer_join_its_trace() -> None:
    tracing = Tracing("application")
    with tracing.span("evaluation") as root, TracerProvider().get_tracer("theirs").start_as_current_span("in") as inner:
        assert f"{inner.get_span_context().trace_id:032x}" == root.trace_id
        assert f"{inner.parent.span_id:016x}" == root.span_id  # type: ignore[attr-defined]


def test_the_global_provider_is_left_alone() -> None:
    before = trace.get_tracer_provider()
    with Tracing("model").span("evaluation"):
        assert trace.get_tracer_provider() is before
    assert not trace.get_current_span().get_span_context().is_valid


def test_identifiers_neither_use_nor_follow_python_s_generator() -> None:
    random.seed(0)
    state = random.getstate()
    first = Tracing("application")
    with first.span("a") as a:
        pass
    assert random.getstate() == state
    second = Tracing("application")
    with second.span("a") as b:
        pass
    assert first.trace_id != second.trace_id
    assert a.span_id != b.span_id


@pytest.mark.parametrize("variables", [{}, {"OTEL_SDK_DISABLED": "true"}])
def test_nothing_is_recorded_when_switched_off(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracing = Tracing("model" if variables else "none")
    with tracing.span("evaluation", batch=2) as root:
        root.set(more=1)
    assert (root.trace_id, root.span_id, tracing.trace_id, tracing.level) == (None, None, None, "none")
    assert len(tracing.finish()) == 0


def test_level_none_imports_no_opentelemetry() -> None:
    program = (
        "import sys; from mlms.tracing.session import Tracing\n"
        "with Tracing('none').span('a'): pass\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry', 'polars', 'grpc'))]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_resource_follows_the_conventions_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Tracing("application").resource["service.name"] == "mlms"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "bench")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=lab")
    resource = Tracing("application").finish().resource
    assert resource["service.name"] == "bench"
    assert resource["deployment.environment.name"] == "lab"
    assert {"service.version", "host.name", "host.arch", "process.pid", "process.runtime.name"} <= set(resource)
