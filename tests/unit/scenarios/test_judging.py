"""Verdicts on what LoadGen and the clocks say; whole measurements are judged in the tests of loadgen and serving."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlms.manifests.types import ScenarioSpec
from mlms.scenarios.detail_log import LoadGenResult
from mlms.scenarios.judging import AchievedRate, Clock, judge

STREAM = ScenarioSpec("single_stream", 64, 10.0, 60.0)
SERVER = ScenarioSpec("server", 662, 10.0, 60.0, target_latency=0.1, target_latency_percentile=99, target_qps=100.0)
OFFLINE = ScenarioSpec("offline", 1000, 10.0, 60.0)
VALID = LoadGenResult(result="VALID", met={"duration": True, "queries": True, "early_stopping": True})


def verdict(spec: ScenarioSpec, result: LoadGenResult = VALID, **changes: Any) -> tuple[str, ...]:
    facts: dict[str, Any] = {
        "answered": 1000,
        "tail_needs": 64,
        "duration_s": 12.0,
        "clock": Clock(12_000_000_000, 12_000_000_000),
        "rate": None,
    }
    return judge(spec, result, **(facts | changes))


def test_nothing_is_wrong_with_a_valid_run() -> None:
    assert verdict(STREAM) == verdict(OFFLINE) == ()
    assert verdict(SERVER, rate=AchievedRate(100, 101, 99.5)) == ()


def test_too_few_queries_say_how_long_they_would_take() -> None:
    (problem,) = verdict(STREAM, answered=16, duration_s=60.0)
    assert problem == "16 queries of at least 64: at this rate they take 240 s, so raise max_duration"
    (problem,) = verdict(OFFLINE, answered=500, duration_s=60.0)
    assert problem == "500 samples of at least 1000: at this rate they take 120 s, so raise max_duration"


def test_fewer_queries_than_the_tail_needs_are_said_where_they_were_asked_for() -> None:
    (problem,) = verdict(replace(STREAM, min_query_count=10), answered=10)
    assert "10 queries, of which p90 needs 64" in problem
    assert verdict(OFFLINE, tail_needs=5000) == (), "offline has no tail"


def test_a_short_run_says_what_made_it_short() -> None:
    short = replace(VALID, result="INVALID", met={"duration": False})
    (problem,) = verdict(STREAM, short, duration_s=4.0)
    assert problem.startswith("the measurement took 4 s of at least 10 s: warm up longer")
    (problem,) = verdict(OFFLINE, short, duration_s=4.0)
    assert "set offline_expected_qps 2.5 times as high" in problem


@pytest.mark.parametrize(("offered", "achieved", "valid"), [(100, 99.1, True), (97, 96.5, True), (110, 98.0, False)])
def test_the_rate_is_held_against_what_was_offered_and_no_more_than_the_target(
    offered: float, achieved: float, valid: bool
) -> None:
    problems = verdict(SERVER, rate=AchievedRate(100, offered, achieved))
    assert (problems == ()) is valid
    assert valid or "98 queries/s were answered of the 100 offered (98.0%, at least 99% are needed)" in problems[0]


def test_a_queue_that_grew_is_one_problem_and_not_four() -> None:
    given_up = LoadGenResult(
        result="INVALID",
        errors=("IssueQueryThread 0 Ending early: Too many outstanding queries.",),
        met={"duration": False, "queries": False, "early_stopping": False, "constraints": False},
        percentiles={99.0: 3_000_000_000},
    )
    problems = verdict(SERVER, given_up, answered=300, rate=AchievedRate(100, 100, 20))
    assert len(problems) == 2
    assert "LoadGen gave up on a growing queue" in problems[0]
    assert problems[1] == "p99, 3.000 s, is over the target of 100.0 ms: lower target_qps or raise target_latency"


def test_an_uncertain_tail_says_how_many_queries_it_takes() -> None:
    result = LoadGenResult(result="INVALID", met={"constraints": True, "early_stopping": False}, more_needed=350)
    (problem,) = verdict(SERVER, result, answered=700, rate=AchievedRate(100, 100, 100))
    assert problem.endswith("raise min_duration or min_queries (1050 queries at least)")


def test_the_streams_are_held_to_a_target_by_the_bound_at_99_percent() -> None:
    result = replace(VALID, early_stopping={90: 110_000_000}, percentiles={90.0: 90_000_000})
    (problem,) = verdict(replace(STREAM, target_latency=0.1), result)
    assert problem == "p90, 110.0 ms at 99% confidence, is over the target of 100.0 ms: raise target_latency"
    assert verdict(replace(STREAM, target_latency=0.2), result) == ()
    assert verdict(STREAM, result) == (), "without a target any latency will do"


@pytest.mark.parametrize(
    ("wall_ns", "agree"),
    [(60_000_000_000, True), (60_050_000_000, True), (60_100_000_000, False), (59_000_000_000, False)],
)
def test_a_clock_that_was_moved_is_flagged(wall_ns: int, agree: bool) -> None:
    clock = Clock(wall_ns, 60_000_000_000)
    assert clock.agree is agree
    problems = verdict(STREAM, clock=clock)
    assert (problems == ()) is agree
    assert agree or "the system's clock" in problems[0]


def test_accuracy_mode_is_not_held_to_the_rules_of_performance() -> None:
    result = LoadGenResult()
    assert verdict(replace(STREAM, mode="accuracy"), result, answered=3, duration_s=0.1) == ()


def test_what_only_loadgen_knows_is_passed_on() -> None:
    result = LoadGenResult(result="INVALID", reasons=("The moon was full.",))
    assert verdict(STREAM, result) == ("LoadGen: The moon was full.",)
