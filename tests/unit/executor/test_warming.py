"""When a warm-up ends, with a predictor whose latencies are made up."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlms.executor import warming
from mlms.executor.warming import UNKNOWN_LATENCY_NS, WINDOW_NS, Windows, warm_up
from mlms.pipeline.preparation import Prepared

SAMPLES = [Prepared(index, str(index), None, {"x": np.full(3, index)}) for index in range(5)]


def told(latencies_ns: list[int], pause_ns: int = 0) -> int | None:
    """How many predictions it takes to become steady."""
    windows, now = Windows(), 1_000
    for count, latency in enumerate(latencies_ns, start=1):
        if windows.add(now, now + latency):
            return count
        now += latency + pause_ns
    return None


def warmed(requested: Any, batch_size: int = 2) -> tuple[warming.WarmUp, list[list[int]]]:
    """A warm-up over five samples, and the samples of each prediction."""
    seen: list[list[int]] = []
    after: list[int] = []
    model = SimpleNamespace(
        predict=lambda batch: seen.append(batch["x"][:, 0].tolist()), checkpoint=lambda: after.append(len(seen))
    )
    evaluation = SimpleNamespace(warmup=requested, batch_size=batch_size)
    done = warm_up(evaluation, model, SAMPLES)  # type: ignore[arg-type]
    assert after == list(range(1, len(seen) + 1)), "a checkpoint after each prediction"
    return done, seen


def test_steady_predictions_are_steady_after_three_windows() -> None:
    assert told([10_000_000] * 100) == 30


def test_slow_predictions_make_longer_windows() -> None:
    assert told([1_000_000_000] * 100) == 24


def test_predictions_that_get_faster_are_not_steady_before_they_stop() -> None:
    falling = [50_000_000 - 1_000_000 * step for step in range(40)]
    count = told(falling + [10_000_000] * 100)
    assert count is not None
    assert 40 < count <= 80
    assert told(falling) is None


def test_throughput_has_to_be_steady_too() -> None:
    """One long stall a window, in different windows, leaves the median as it is."""
    series = []
    for stall in (200, 20, 90, 10, 150, 30) * 3:
        series += [5_000_000] * 20 + [stall * 1_000_000]
    assert told(series) is None


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_a_count_is_honoured_exactly(count: int) -> None:
    result, seen = warmed(count)
    assert len(result.starts) == len(result.ends) == len(seen) == count
    assert (result.requested, result.steady, result.method) == (count, None, None)
    assert seen[:3] == [[0, 1], [2, 3], [4, 0]][:count], "round the samples"


def test_the_expected_latency_is_the_best_seen() -> None:
    result, _ = warmed(4)
    assert result.expected_ns == (result.ends - result.starts).min()
    assert warmed(0)[0].expected_ns == UNKNOWN_LATENCY_NS


def test_auto_goes_on_until_it_is_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**15, 5_000_000))  # a reading every 5 ms: so long does each prediction seem to take
    monkeypatch.setattr(warming, "perf_counter_ns", lambda: next(clock))
    result, seen = warmed("auto")
    assert result.steady is True
    assert len(seen) == len(result.starts) >= 24
    assert result.ends[-1] - result.starts[0] >= 3 * WINDOW_NS
    assert "Performance Analyzer" in (result.method or "")


def test_auto_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, step = 0, 1_000_000

    def clock() -> int:
        nonlocal now, step
        now, step = now + int(step), step * 1.05
        return now

    monkeypatch.setattr(warming, "perf_counter_ns", clock)
    result, _ = warmed("auto")
    assert result.steady is False
    assert result.ends[-1] > warming.LONGEST_NS
    assert replace(result, steady=None).method == warming.METHOD
