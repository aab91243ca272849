"""The record's account of the load: what was asked for, what LoadGen says, what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlms.analysis.latency import PERCENTILES
from mlms.executor.measuring import least_queries, seeds_of
from mlms.manifests.types import Evaluation, ScenarioSpec
from mlms.scenarios.detail_log import LoadGenResult
from mlms.scenarios.loadgen import Measurement

DEFINITIONS: Mapping[str, str] = {
    "single_stream": "From LoadGen's issue of a query, which is one ready batch, to the answer in host memory.",
    "multi_stream": "From LoadGen's issue of a query of several ready samples to the answer to the last of them.",
    "server": "From a query's scheduled arrival to its answer: sending late, waiting, batching and prediction "
    "included. The kept series, and what is computed from it, runs from the issue.",
    "offline": "One prediction of a ready batch, inputs in host memory to outputs in host memory; the making of "
    "batches counts in the throughput only.",
}


def describe_scenario(evaluation: Evaluation, measurement: Measurement, total: int) -> dict[str, Any]:
    """The record's ``scenario``; ``total`` is the number of the dataset's samples."""
    spec, result, lag, rate = evaluation.scenario, measurement.loadgen, measurement.send_lag, measurement.rate
    return {
        "type": spec.type,
        "mode": spec.mode,
        "loadgen_version": measurement.loadgen_version,
        "valid": measurement.valid,
        "problems": list(measurement.problems),
        "min_queries": least_queries(spec, total),
        "min_duration_s": spec.min_duration,
        "max_duration_s": spec.max_duration,
        "parameters": _parameters(evaluation, total),
        "loadgen": {
            "result": result.result,
            "percentiles": [{"percentile": key, "value_ns": value} for key, value in result.percentiles.items()],
            "early_stopping": [{"percentile": key, "estimate_ns": ns} for key, ns in result.early_stopping.items()],
            "mean_ns": result.mean_ns,
            "rate": None if result.rate is None else {"value": result.rate[0], "unit": result.rate[1]},
        },
        "send_lag": None if lag is None else {"mean_ns": lag[0], "max_ns": lag[1]},
        "achieved_rate": rate and {**asdict(rate), "share": rate.share},
        "clock": {**asdict(measurement.clock), "agree": measurement.clock.agree},
    }


def percentiles_of(spec: ScenarioSpec) -> Sequence[float]:
    """The usual ones and the scenario's own."""
    return sorted({*PERCENTILES, float(spec.target_latency_percentile)})


def loadgen_figures(spec: ScenarioSpec, result: LoadGenResult) -> dict[str, float | None]:
    """LoadGen's mean and extremes (ns) for the record's ``latency``."""
    if spec.type == "offline":  # LoadGen has one query there, and its figures are of when each sample was done
        return {}
    return {"mean": result.mean_ns, "min": result.min_ns, "max": result.max_ns}


def _parameters(evaluation: Evaluation, total: int) -> dict[str, Any]:
    """MLPerf's parameters as they were used, under its names; durations in its units."""
    spec, seeds = evaluation.scenario, seeds_of(evaluation)
    parameters = {
        "min_query_count": least_queries(spec, total),
        "min_duration": round(spec.min_duration * 1000),
        "max_duration": round(spec.max_duration * 1000),
        "target_latency_percentile": spec.target_latency_percentile,
        "target_latency": None if spec.target_latency is None else spec.target_latency * 1000,
        "target_qps": spec.target_qps,
        "offline_expected_qps": spec.offline_expected_qps,
        "samples_per_query": spec.samples_per_query if spec.type == "multi_stream" else None,
        "qsl_rng_seed": seeds.qsl,
        "sample_index_rng_seed": seeds.sample_index,
        "schedule_rng_seed": seeds.schedule,
    }
    return {key: value for key, value in parameters.items() if value is not None}
