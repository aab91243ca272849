"""The server scenario by the real LoadGen, around predictors made of sleep."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlms.hooks import Batch, Outputs
from mlms.manifests.types import ScenarioSpec
from mlms.progress import Silent
from mlms.scenarios.loadgen import Measurement, Seeds, measure


def serve(tmp_path: Path, predict: Callable[[Batch], Outputs], *, prime: bool = False, **rules: Any) -> Measurement:
    defaults = {"target_qps": 200, "target_latency": 1.0, "target_latency_percentile": 50}
    return measure(
        ScenarioSpec(
            "server", **{"min_query_count": 100, "min_duration": 0.3, "max_duration": 10, **defaults, **rules}
        ),
        predict,
        10,
        int(rules.get("max_batch", 1)),
        lambda positions: {"x": np.array(positions)},
        expected_ns=1_000_000,
        seeds=Seeds(1, 2, 3),
        log_directory=tmp_path / "logs",
        progress=Silent(),
        region=nullcontext(),
        prime=prime,
    )


def taking(seconds: float) -> Callable[[Batch], Outputs]:
    def predict(batch: Batch) -> Outputs:
        time.sleep(seconds)
        return {"y": batch["x"]}

    return predict


def test_latency_counts_the_queue_and_says_how_long_it_was(tmp_path: Path) -> None:
    result = serve(tmp_path, taking(0.004))
    queries = result.queries
    assert result.valid, result.problems
    assert (np.diff(queries.issued) >= 0).all()
    assert queries.waited.max() > 2_000_000, "random arrivals at 80% load have to wait for one another"
    assert (queries.latencies - queries.waited).min() >= 4_000_000
    assert result.loadgen.mean_ns is not None
    assert result.loadgen.mean_ns >= queries.latencies.mean(), "LoadGen counts from the scheduled arrival"
    assert result.send_lag is not None
    assert result.send_lag[0] == pytest.approx(result.loadgen.mean_ns - queries.latencies.mean())


def test_a_batch_is_what_waits_and_no_more_than_allowed(tmp_path: Path) -> None:
    result = serve(tmp_path, taking(0.02), max_batch=8, max_queue_delay=0.001)
    sizes = [len(positions) for positions in result.answered]
    assert result.valid, "a batch of up to eight makes up for the slow prediction"
    assert 2 < max(sizes) <= 8
    assert sum(sizes) == len(result.queries.issued) == result.samples


def test_the_oldest_query_waits_for_others_no_longer_than_allowed(tmp_path: Path) -> None:
    result = serve(tmp_path, taking(0), target_qps=50, max_batch=100, max_queue_delay=0.03)
    sizes = [len(positions) for positions in result.answered]
    assert 1 < np.mean(sizes) < 6, "about what arrives in 30 ms"
    first_of_each = result.queries.waited[np.unique(result.queries.begun, return_index=True)[1]]
    assert np.median(first_of_each) == pytest.approx(30e6, rel=0.2)


def test_workers_answer_at_the_same_time(tmp_path: Path) -> None:
    seen = set()

    def predict(batch: Batch) -> Outputs:
        seen.add(threading.current_thread().name)
        return taking(0.012)(batch)

    result = serve(tmp_path, predict, workers=4)
    assert result.valid, "one worker would manage 83 of the 200 queries a second"
    assert len(seen) == 4
    assert (result.starts[1:] < result.ends[:-1]).any(), "predictions overlap"
    assert (np.diff(result.starts) >= 0).all()
    assert not any(thread.name.startswith("mlms-worker") for thread in threading.enumerate())


def test_a_rate_that_can_not_be_reached_is_said_with_what_would_help(tmp_path: Path) -> None:
    interval = sys.getswitchinterval()
    began = time.monotonic()
    result = serve(tmp_path, taking(0.01), target_qps=1000, target_latency=0.02, min_duration=5, min_query_count=662)
    assert time.monotonic() - began < 40, "LoadGen gives up on the queue, and it drains"
    assert not result.valid
    assert result.rate is not None
    assert result.rate.share < 0.2
    assert "LoadGen gave up on a growing queue" in result.problems[0]
    assert "lower target_qps, or add workers or dynamic_batching" in result.problems[0]
    assert sys.getswitchinterval() == interval


def test_a_rate_just_too_high_is_invalid_though_the_tail_is_within_its_target(tmp_path: Path) -> None:
    result = serve(tmp_path, taking(0.01), target_qps=120, min_query_count=120, target_latency=20.0)
    assert result.loadgen.result == "VALID"
    assert not result.valid
    assert "at least 99% are needed" in result.problems[0]


@pytest.mark.parametrize("max_batch", [1, 4])
def test_an_error_ends_the_measurement_early(tmp_path: Path, max_batch: int) -> None:
    calls = []

    def predict(batch: Batch) -> Outputs:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError("no more")
        return {"y": batch["x"]}

    began = time.monotonic()
    with pytest.raises(ValueError, match="no more"):
        serve(tmp_path, predict, target_qps=500, target_latency=0.01, min_duration=30, max_batch=max_batch)
    assert time.monotonic() - began < 10, "not the 30 s that LoadGen would have gone on for"
    assert len(calls) == 3
    assert serve(tmp_path, taking(0)).loadgen.result == "VALID"


def test_workers_predict_once_beforehand_where_there_is_a_warm_up(tmp_path: Path) -> None:
    calls = []

    def predict(batch: Batch) -> Outputs:
        calls.append(threading.current_thread().name)
        return {"y": batch["x"]}

    result = serve(tmp_path, predict, workers=3, prime=True)
    assert len(calls) == len(result.starts) + 3
    assert len(set(calls[:3])) == 3


def test_an_error_of_the_first_prediction_comes_before_any_query(tmp_path: Path) -> None:
    def predict(batch: Batch) -> Outputs:
        raise RuntimeError("not at all")

    with pytest.raises(RuntimeError, match="not at all"):
        serve(tmp_path, predict, workers=2, prime=True)
    assert not (tmp_path / "logs").exists()
