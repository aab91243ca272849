"""Measurements by the real LoadGen around a predictor made of numpy."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlms.errors import DataError
from mlms.hooks import Batch, Outputs
from mlms.manifests.types import ScenarioSpec
from mlms.progress import Silent
from mlms.scenarios.loadgen import Measurement, Seeds, measure
from mlms.scenarios.sut import Positions

SEEDS = Seeds(1, 2, 3)
SCENARIOS = ["single_stream", "multi_stream", "server", "offline"]
RULES: dict[str, dict[str, Any]] = {
    "multi_stream": {"samples_per_query": 4},
    "server": {"target_qps": 500, "target_latency": 2.0, "target_latency_percentile": 50},
}


def double(batch: Batch) -> Outputs:
    return {"y": batch["x"] * 2}


def stack(positions: Positions) -> Batch:
    return {"x": np.array(positions)}


def run(tmp_path: Path, scenario: str = "single_stream", predict: Any = double, **changes: Any) -> Measurement:
    """Measure under rules and options (those of ``measure``) that are quick to meet, but for the ``changes``."""
    rules = {"min_query_count": 100, "min_duration": 0.0, "max_duration": 10.0, **RULES.get(scenario, {})}
    known = {field.name for field in fields(ScenarioSpec)} - {"seeds"}
    rules |= {key: changes.pop(key) for key in list(changes) if key in known}
    options: dict[str, Any] = {"samples": 10, "batch_size": 1, "seeds": SEEDS, "expected_ns": 100_000} | changes
    return measure(
        ScenarioSpec(scenario, **rules),
        predict,
        options.pop("samples"),
        options.pop("batch_size"),
        options.pop("stack", stack),
        log_directory=tmp_path / "logs",
        progress=Silent(),
        region=nullcontext(),
        **options,
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_every_prediction_is_timed_and_answers_the_samples_it_was_given(
    tmp_path: Path, scenario: str, batch_size: int
) -> None:
    result = run(tmp_path, scenario, batch_size=batch_size)
    assert result.loadgen.result == "VALID", result.problems
    assert len(result.starts) == len(result.ends) == len(result.answered)
    assert (result.ends >= result.starts).all()
    assert (result.starts[1:] >= result.ends[:-1]).all(), "one after the other"
    assert result.samples >= 100
    assert result.duration_s > 0
    assert result.throughput == pytest.approx(result.samples / result.duration_s)
    for positions, outputs in result.outputs:
        assert outputs["y"].tolist() == [2 * position for position in positions]
    if scenario == "single_stream":
        assert {len(positions) for positions in result.answered} == {batch_size}
    if scenario == "multi_stream":
        assert set(result.queries.samples.tolist()) == {4}
    assert (result.queries.latencies > 0).all()
    assert (result.queries.waited >= 0).all()
    assert int(result.queries.samples.sum()) == result.samples


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_seeds_decide_the_order(tmp_path: Path, scenario: str) -> None:
    first = run(tmp_path, scenario).answered[:50]
    assert run(tmp_path, scenario).answered[:50] == first
    assert run(tmp_path, scenario, seeds=Seeds(4, 5, 6)).answered[:50] != first


def test_the_measurement_lasts_as_long_as_asked(tmp_path: Path) -> None:
    result = run(tmp_path, min_duration=0.3, min_query_count=1, expected_ns=1_000_000, predict=slowly(0.001))
    assert result.duration_s >= 0.28
    assert result.valid


def test_the_measurement_ends_at_the_longest_duration(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        min_query_count=100_000,
        max_duration=0.3,
        min_duration=0.1,
        expected_ns=5_000_000,
        predict=slowly(0.005),
    )
    assert result.duration_s < 1
    assert not result.valid
    assert result.problems


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("at", [1, 5])
def test_an_error_comes_out_and_the_next_measurement_works(tmp_path: Path, scenario: str, at: int) -> None:
    calls = []

    def fail(batch: Batch) -> Outputs:
        calls.append(1)
        if len(calls) == at:
            raise ValueError("no more")
        return double(batch)

    with pytest.raises(ValueError, match="no more"):
        run(tmp_path, scenario, fail)
    assert len(calls) == at, "nothing is predicted after an error"
    assert run(tmp_path, scenario).loadgen.result == "VALID"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_interrupt_comes_out_between_predictions(tmp_path: Path, scenario: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    calls = []

    def press(batch: Batch) -> Outputs:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return double(batch)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, scenario, press)
    assert signal.getsignal(signal.SIGINT) is before
    whole = run(tmp_path, scenario)
    assert whole.loadgen.result == "VALID"
    if scenario == "server":  # its main thread hears of it some queries later, as the system schedules it
        assert 3 <= len(calls) < len(whole.starts)
    else:
        assert len(calls) == 3


def test_it_works_in_another_thread(tmp_path: Path) -> None:
    results: list[Measurement] = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path)))
    thread.start()
    thread.join(30)
    assert results[0].valid


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_accuracy_mode_sends_every_sample_and_is_judged_by_that(tmp_path: Path, scenario: str) -> None:
    result = run(tmp_path, scenario, mode="accuracy", samples=37)
    assert result.valid, result.problems
    assert result.loadgen.result is None
    assert {position for positions in result.answered for position in positions} == set(range(37))
    assert (tmp_path / "logs" / "mlperf_log_accuracy.json").stat().st_size > 100


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("kept", [False, True])
def test_the_trace_log_is_kept_where_it_is_asked_for(tmp_path: Path, scenario: str, kept: bool) -> None:
    run(tmp_path, scenario, trace_log=kept)
    trace = tmp_path / "logs" / "mlperf_log_trace.json"
    assert (trace.stat().st_size > 0) is kept


def test_a_query_of_multi_stream_lies_side_by_side_in_memory(tmp_path: Path) -> None:
    seen = []

    def look(batch: Batch) -> Outputs:
        seen.append(batch["x"])
        return double(batch)

    result = run(tmp_path, "multi_stream", look, batch_size=4)
    assert all(values.base is not None and values.flags.c_contiguous for values in seen), "views, and no copies"
    assert len({id(values.base) for values in seen}) == 1
    assert {len(positions) for positions in result.answered} == {4}


@pytest.mark.parametrize(("batch_size", "predictions"), [(1, 4), (3, 2), (4, 1)])
def test_a_query_of_multi_stream_is_done_with_its_last_prediction(
    tmp_path: Path, batch_size: int, predictions: int
) -> None:
    result = run(tmp_path, "multi_stream", slowly(0.001), batch_size=batch_size, min_query_count=20)
    assert len(result.starts) == predictions * len(result.queries.issued)
    assert result.queries.latencies.min() >= predictions * 1_000_000
    assert result.loadgen.percentiles[50.0] == pytest.approx(np.median(result.queries.latencies), rel=0.5)


def test_a_query_of_more_samples_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a query of 11 samples is more than the 10 that there are"):
        run(tmp_path, "multi_stream", samples_per_query=11)


def test_a_failure_to_make_the_batches_comes_out(tmp_path: Path) -> None:
    def fail(positions: Positions) -> Batch:
        raise MemoryError("no room")

    for scenario in ("multi_stream", "offline"):
        with pytest.raises(MemoryError, match="no room"):
            measure(
                ScenarioSpec(scenario, 10, 0.0, 5.0, **RULES.get(scenario, {})),
                double,
                10,
                1,
                fail,
                expected_ns=100_000,
                seeds=SEEDS,
                log_directory=tmp_path / "logs",
                progress=Silent(),
                region=nullcontext(),
            )
    assert run(tmp_path).valid


def test_the_tail_that_is_asked_for_has_to_be_made(tmp_path: Path) -> None:
    result = run(tmp_path, min_query_count=40, tail_needs=64)
    assert not result.valid
    assert result.problems == ("40 queries, of which p90 needs 64: raise min_queries, or leave it out",)


def test_a_tail_over_the_target_is_not_valid(tmp_path: Path) -> None:
    result = run(tmp_path, "multi_stream", slowly(0.002), batch_size=4, target_latency=0.001)
    assert any("over the target of 1.000 ms: lower samples_per_query" in problem for problem in result.problems)


def test_an_answer_is_kept_once_for_each_sample(tmp_path: Path) -> None:
    result = run(tmp_path, "offline", samples=5, batch_size=2, min_query_count=200)
    seen: set[int] = set()
    for positions, _ in result.outputs:
        assert not seen.issuperset(positions), "holds a sample that no earlier one held"
        seen.update(positions)
    assert seen == set(range(5))


def test_the_making_of_every_batch_counts_in_the_throughput_of_offline(tmp_path: Path) -> None:
    def slow_stack(positions: Positions) -> Batch:
        time.sleep(0.02)
        return {"x": np.array(positions)}

    result = run(tmp_path, "offline", batch_size=8, samples=8, min_query_count=8, stack=slow_stack)
    assert len(result.starts) == 1
    assert result.duration_s >= 0.02
    assert result.loadgen.rate is not None
    assert result.throughput == pytest.approx(result.loadgen.rate[0], rel=0.3)


def slowly(seconds: float) -> Any:
    def predict(batch: Batch) -> Outputs:
        time.sleep(seconds)
        return double(batch)

    return predict
