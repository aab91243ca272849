"""A manifest's ``scenario`` into its specification: defaults filled in, rules that don't go together refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from mlms.manifests.durations import seconds
from mlms.manifests.types import ScenarioSpec

Pointer = tuple[str | int, ...]
Fail = Callable[[Pointer, str, str | None], NoReturn]

TARGET_PERCENTILES: Mapping[str, float] = {"single_stream": 90, "multi_stream": 99, "server": 99, "offline": 90}
SAMPLES_PER_QUERY = 8
MLPERF_MIN_DURATION = 600.0
MLPERF_MAX_DURATION = 3600.0
"""MLPerf sets none; this ends a run that would never become valid."""

_ONLY = {
    "target_latency": ("single_stream", "multi_stream", "server"),
    "target_qps": ("server",),
    "workers": ("server",),
    "dynamic_batching": ("server",),
    "samples_per_query": ("multi_stream",),
    "offline_expected_qps": ("offline",),
}
_NEEDED = {
    "target_qps": "queries a second that it is offered",
    "target_latency": "what 99% of the queries must stay within, such as 100ms",
}


def scenario_spec(
    own: str | Mapping[str, Any],
    laid_over: str | Mapping[str, Any],
    laid_over_at: Pointer,
    profile: str,
    fail: Fail,
) -> ScenarioSpec:
    """The manifest's own ``scenario`` with a matrix's laid over it; defaults are MLPerf's where it has any.

    Sources: the rules of MLPerf Inference (``inference_rules``, "Scenarios") and its ``mlperf.conf``.
    """
    beneath, above = ({"type": given} if isinstance(given, str) else given for given in (own, laid_over))
    rules: dict[str, Any] = {"type": "single_stream", "min_duration": 10, "max_duration": 60, **beneath, **above}
    kind = rules["type"]

    def at(key: str) -> Pointer:
        return (*laid_over_at, key) if key in above else ("scenario", key) if key in beneath else laid_over_at

    for key, kinds in _ONLY.items():
        if key in rules and kind not in kinds:
            fail(at(key), f"'{key}' has no meaning in {kind}", f"it belongs to {' and '.join(kinds)}")
    missing = {key: meaning for key, meaning in _NEEDED.items() if kind == "server" and key not in rules}
    if missing:
        hint = ", and ".join(f"'{key}', {meaning}" for key, meaning in missing.items())
        fail(at("type"), f"server needs {' and '.join(map(repr, missing))}", f"give {hint}")
    if "min_queries" in rules and "min_query_count" in rules:
        fail(at("min_queries"), "'min_queries' and 'min_query_count' are the same", "give one of them")
    shortest, longest = seconds(rules["min_duration"]), seconds(rules["max_duration"])
    if profile == "mlperf":
        shortest, longest = max(shortest, MLPERF_MIN_DURATION), max(longest, MLPERF_MAX_DURATION)
    if shortest > longest:
        at_most = f"max_duration ({longest:g} s)"
        fail(laid_over_at, f"min_duration ({shortest:g} s) is more than {at_most}", "raise max_duration")
    if rules.get("target_qps", math.inf) < 1 / longest:
        # LoadGen looks at the time, and Ctrl-C is heard, only when it issues a query.
        message = f"'target_qps' of {rules['target_qps']:g} is less than one query in max_duration ({longest:g} s)"
        fail(at("target_qps"), message, f"give it {1 / longest:g} or more, or raise max_duration")
    batching = rules.get("dynamic_batching", {})
    return ScenarioSpec(
        type=kind,
        min_query_count=rules.get("min_query_count", rules.get("min_queries")),
        min_duration=shortest,
        max_duration=longest,
        mode=rules.get("mode", "performance"),
        profile=profile,
        target_latency=seconds(rules["target_latency"]) if "target_latency" in rules else None,
        target_latency_percentile=rules.get("target_latency_percentile", TARGET_PERCENTILES[kind]),
        target_qps=rules.get("target_qps"),
        offline_expected_qps=rules.get("offline_expected_qps"),
        samples_per_query=rules.get("samples_per_query", SAMPLES_PER_QUERY) if kind == "multi_stream" else 1,
        seeds=dict(rules.get("seeds", {})),
        workers=rules.get("workers", 1),
        max_batch=batching.get("max_batch", 1),
        max_queue_delay=seconds(batching.get("max_queue_delay", 0)),
        trace_log=rules.get("trace_log", False),
    )


def prediction_size(spec: ScenarioSpec, given: int | None, given_at: Pointer, fail: Fail) -> int:
    """Samples in one prediction: the manifest's ``batch_size`` where the scenario leaves it to that."""
    if spec.type == "server":
        if given not in (None, spec.max_batch):
            hint = "set scenario.dynamic_batching.max_batch instead"
            fail(given_at, "a query of server is one sample, and 'batch_size' has no meaning there", hint)
        return spec.max_batch
    if spec.type == "multi_stream":
        if given is not None and given > spec.samples_per_query:
            message = f"a batch of {given} is more than the {spec.samples_per_query} samples of a query"
            fail(given_at, message, "raise scenario.samples_per_query, or leave 'batch_size' out")
        return given or spec.samples_per_query
    return given or 1
