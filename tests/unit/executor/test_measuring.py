"""What a scenario is made to do for its tail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mlms.executor.harness import HarnessCost
from mlms.executor.measuring import least_queries, seeds_of
from mlms.manifests.types import ScenarioSpec


def least(kind: str, total: int = 100_000, given: int | None = None, **rules: Any) -> int:
    return least_queries(ScenarioSpec(kind, given, 10.0, 60.0, **rules), total)


@pytest.mark.parametrize(("percentile", "count"), [(50, 11), (90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_the_tail_says_how_many_queries_are_needed(percentile: float, count: int) -> None:
    assert least("server", target_latency_percentile=percentile) == count
    assert least("offline", target_latency_percentile=percentile) == 1


def test_a_number_that_is_given_is_kept_to() -> None:
    assert least("single_stream", given=10) == 10
    assert least("offline", given=10) == 10


def test_the_profile_of_mlperf_raises_it() -> None:
    assert least("single_stream", given=10, profile="mlperf") == 64
    assert least("single_stream", given=1000, profile="mlperf") == 1000
    assert least("offline", given=10, profile="mlperf") == 24_576
    assert least("offline", total=450, profile="mlperf") == 450
    assert least("offline", given=30_000, profile="mlperf") == 30_000


def test_seeds_that_are_given_are_taken_and_the_others_follow_from_the_evaluations() -> None:
    def seeds(seed: int, **given: int) -> Any:
        return seeds_of(SimpleNamespace(seed=seed, scenario=ScenarioSpec("server", None, 0, 1, seeds=given)))  # type: ignore[arg-type]

    assert seeds(1) == seeds(1) != seeds(2)
    mixed = seeds(1, schedule_rng_seed=2**63 - 1)
    assert mixed.schedule == 2**63 - 1
    assert (mixed.qsl, mixed.sample_index) == (seeds(1).qsl, seeds(1).sample_index)


def test_the_harness_warns_above_two_percent_of_the_median() -> None:
    cost = HarnessCost(2_000.0)
    assert cost.beside(100_001.0).warning is None
    dear = cost.beside(50_000.0)
    assert dear.share_of_median == 0.04
    assert "2.000 µs a query, 4.0% of the median" in (dear.warning or "")
    assert cost.beside(None) == cost
