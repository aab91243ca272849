"""A manifest's scenario: MLPerf's defaults, and what doesn't go together."""

from __future__ import annotations

from typing import Any

import pytest

from mlms.errors import DocumentError, Place, Problem
from mlms.manifests.scenarios import Pointer, prediction_size, scenario_spec
from mlms.manifests.types import ScenarioSpec


def fail(pointer: Pointer, message: str, hint: str | None) -> Any:
    raise DocumentError([Problem(Place("m.yaml"), ".".join(map(str, pointer)), message, hint)])


def spec(own: Any, over: Any = None, profile: str = "default") -> ScenarioSpec:
    return scenario_spec(own, over or {}, ("matrix", "scenario", 0) if over else ("scenario",), profile, fail)


def refused(own: Any, over: Any = None) -> Problem:
    with pytest.raises(DocumentError) as caught:
        spec(own, over)
    (problem,) = caught.value.problems
    return problem


def test_defaults_are_mlperfs() -> None:
    assert spec("single_stream") == ScenarioSpec("single_stream", None, 10.0, 60.0, target_latency_percentile=90)
    multi = spec("multi_stream")
    assert (multi.samples_per_query, multi.target_latency_percentile, multi.target_latency) == (8, 99, None)
    server = spec({"type": "server", "target_qps": 5, "target_latency": "10ms"})
    assert (server.target_qps, server.target_latency, server.target_latency_percentile) == (5, 0.01, 99)
    assert (server.workers, server.max_batch, server.max_queue_delay, server.trace_log) == (1, 1, 0.0, False)
    assert spec("offline").offline_expected_qps is None


def test_everything_said() -> None:
    given = {
        "type": "server",
        "mode": "accuracy",
        "min_query_count": 7,
        "min_duration": "1s",
        "max_duration": "2m",
        "target_latency": 0.5,
        "target_latency_percentile": 99.9,
        "target_qps": 12.5,
        "seeds": {"schedule_rng_seed": 9},
        "workers": 3,
        "dynamic_batching": {"max_batch": 16, "max_queue_delay": "5ms"},
        "trace_log": True,
    }
    assert spec(given) == ScenarioSpec(
        "server",
        7,
        1.0,
        120.0,
        mode="accuracy",
        target_latency=0.5,
        target_latency_percentile=99.9,
        target_qps=12.5,
        seeds={"schedule_rng_seed": 9},
        workers=3,
        max_batch=16,
        max_queue_delay=0.005,
        trace_log=True,
    )


def test_min_queries_is_another_name() -> None:
    assert spec({"min_queries": 5}) == spec({"min_query_count": 5})
    problem = refused({"min_queries": 5, "min_query_count": 5})
    assert (problem.path, problem.hint) == ("scenario.min_queries", "give one of them")


def test_the_profile_of_mlperf_raises_durations_and_lowers_none() -> None:
    raised = spec({"min_duration": "2s", "max_duration": "5s"}, profile="mlperf")
    assert (raised.min_duration, raised.max_duration, raised.profile) == (600, 3600, "mlperf")
    long = spec({"min_duration": "20m", "max_duration": "2h"}, profile="mlperf")
    assert (long.min_duration, long.max_duration) == (1200, 7200)


@pytest.mark.parametrize(
    ("own", "path", "message", "hint"),
    [
        ({"type": "server", "target_latency": 1}, "scenario.type", "server needs 'target_qps'", "queries a second"),
        ({"type": "server", "target_qps": 1}, "scenario.type", "server needs 'target_latency'", "such as 100ms"),
        ({"target_qps": 1}, "scenario.target_qps", "'target_qps' has no meaning in single_stream", "belongs to server"),
        ({"type": "offline", "target_latency": 1}, "scenario.target_latency", "no meaning in offline", "single_stream"),
        ({"workers": 2}, "scenario.workers", "no meaning", "server"),
        ({"type": "server", "samples_per_query": 2}, "scenario.samples_per_query", "no meaning", "multi_stream"),
        ({"offline_expected_qps": 2}, "scenario.offline_expected_qps", "no meaning", "offline"),
        (
            {"type": "server", "target_latency": 1, "target_qps": 0.01, "max_duration": "20s"},
            "scenario.target_qps",
            "'target_qps' of 0.01 is less than one query in max_duration (20 s)",
            "give it 0.05 or more, or raise max_duration",
        ),
        ({"min_duration": "2m"}, "scenario", "min_duration (120 s) is more than max_duration (60 s)", "raise"),
    ],
)
def test_what_does_not_go_together(own: Any, path: str, message: str, hint: str) -> None:
    problem = refused(own)
    assert problem.path == path
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_a_matrix_is_laid_over_and_blamed_for_its_own() -> None:
    assert spec({"min_query_count": 5}, "offline").min_query_count == 5
    assert refused({"min_query_count": 5}, {"workers": 2}).path == "matrix.scenario.0.workers"
    assert refused({"workers": 2}, "offline").path == "scenario.workers"


def test_the_size_of_a_prediction() -> None:
    def size(own: Any, given: int | None) -> int:
        return prediction_size(spec(own), given, ("batch_size",), fail)

    batching = {"type": "server", "target_qps": 1, "target_latency": 1, "dynamic_batching": {"max_batch": 4}}
    assert [size("single_stream", None), size("offline", 8), size("multi_stream", None), size("multi_stream", 2)] == [
        1, 8, 8, 2,
    ]  # fmt: skip
    assert [size(batching, None), size(batching, 4)] == [4, 4]
    with pytest.raises(DocumentError, match=r"'batch_size' has no meaning there at 'batch_size'"):
        size(batching, 2)
    with pytest.raises(DocumentError, match="a batch of 9 is more than the 8 samples of a query"):
        size("multi_stream", 9)
