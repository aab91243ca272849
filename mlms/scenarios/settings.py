"""A scenario in LoadGen's words.

Imported only when a measurement starts (it needs LoadGen).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mlperf_loadgen as loadgen

from mlms.manifests.types import ScenarioSpec

MOST_PLANNED = 2_000_000
"""LoadGen makes all queries of a test beforehand, some hundred bytes each, by the latency it is told to expect."""
LEAST_OUTSTANDING, OUTSTANDING_S, OUTSTANDING_TARGETS = 64, 1.0, 10
"""Bound on the queue of ``server``: so many queries, or what arrives in so long, or in so many target latencies."""
OFFLINE_MARGIN = 1.1
"""More samples planned for ``offline`` than the warm-up's rate asks for, besides LoadGen's own 10%."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """LoadGen's three random streams."""

    qsl: int
    sample_index: int
    schedule: int


def loadgen_settings(spec: ScenarioSpec, expected_ns: int, batch_size: int, seeds: Seeds) -> Any:
    """LoadGen's settings. ``expected_ns`` is the latency to expect of one prediction of ``batch_size`` samples."""
    settings = loadgen.TestSettings()
    accuracy = spec.mode == "accuracy"
    settings.mode = loadgen.TestMode.AccuracyOnly if accuracy else loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(spec.min_duration * 1000)
    settings.max_duration_ms = max(1, round(spec.max_duration * 1000))
    least = settings.min_query_count = spec.min_query_count or 1
    settings.qsl_rng_seed = seeds.qsl
    settings.sample_index_rng_seed = seeds.sample_index
    settings.schedule_rng_seed = seeds.schedule
    percentile = spec.target_latency_percentile / 100
    expected_ns = max(expected_ns, 1)
    # Half of what is expected: LoadGen ends the test where the queries it made beforehand run out.
    planned_ns = max(expected_ns // 2, int(spec.min_duration * 1e9) // MOST_PLANNED, 1)
    if spec.type == "single_stream":
        settings.scenario = loadgen.TestScenario.SingleStream
        settings.single_stream_expected_latency_ns = planned_ns
        settings.single_stream_target_latency_percentile = percentile
    elif spec.type == "multi_stream":
        settings.scenario = loadgen.TestScenario.MultiStream
        settings.multi_stream_samples_per_query = spec.samples_per_query
        settings.multi_stream_expected_latency_ns = planned_ns * -(-spec.samples_per_query // batch_size)
        settings.multi_stream_target_latency_percentile = percentile
    elif spec.type == "server":
        assert spec.target_qps is not None, "the manifest has seen to it"
        assert spec.target_latency is not None, "the manifest has seen to it"
        settings.scenario = loadgen.TestScenario.Server
        settings.server_target_qps = spec.target_qps
        settings.server_target_latency_ns = round(spec.target_latency * 1e9)
        settings.server_target_latency_percentile = percentile
        settings.server_max_async_queries = most_outstanding(spec.target_qps, spec.target_latency)
    else:
        settings.scenario = loadgen.TestScenario.Offline
        rate = spec.offline_expected_qps or OFFLINE_MARGIN * batch_size * 1e9 / expected_ns
        settings.offline_expected_qps = rate
        # An offline query can't be cut short once issued, so the limit on time has to limit its samples.
        settings.min_query_count = max(1, min(least, int(rate * spec.max_duration)))
    return settings


def most_outstanding(target_qps: float, target_latency: float) -> int:
    """Queries that may wait for an answer before LoadGen gives the test up."""
    return max(LEAST_OUTSTANDING, round(target_qps * max(OUTSTANDING_S, OUTSTANDING_TARGETS * target_latency)))
