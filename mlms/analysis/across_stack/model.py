"""The model as a whole: latency and throughput by batch size (A1 of XSP). Imports polars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from mlms.analysis.across_stack.trace import read_trace
from mlms.analysis.settings import differing, settings
from mlms.runs.run import Run
from mlms.tracing.levels import depth

WORTHWHILE = 0.05
"""Doubling the batch must raise the throughput by more than this to be worth it (XSP's rule)."""

_SHOWN = ("model", "framework", "device", "dtype", "threads", "scenario", "level")
_SAME = (*_SHOWN, "settings")
_BEARS_ON_NONE = frozenset(
    {
        # Shown in columns of their own, as they came out.
        *("model.name", "framework.name", "device", "dtype", "threads", "batch_size", "scenario.type", "trace.level"),
        # How many and which samples are predicted together, of which the batch size is what counts.
        *("scenario.samples_per_query", "scenario.max_batch", "seed", "limit"),
        # How long it is measured, how often, how it is judged and where things lie.
        *("scenario.min_query_count", "scenario.min_duration", "scenario.max_duration", "scenario.mode"),
        *("scenario.profile", "scenario.target_latency", "scenario.target_latency_percentile", "scenario.trace_log"),
        *("scenario.offline_expected_qps", "execution.repeat", "execution.timeout", "execution.isolation"),
        *("execution.cold_start", "metrics", "workers", "memory_mib", "trace.otlp", "trace.leveled", "manifest.commit"),
        *("dataset.path", "model.source.weights.file"),
    }
)
"""Settings in which runs may differ whose predictions compare."""


def model_information(runs: Sequence[Run]) -> pl.DataFrame:
    """A1: a row for each model, framework, device, dtype, number of threads, scenario, trace level and batch size.

    Runs share a row where nothing else differs that a prediction's latency may come from: options, versions, weights,
    the rate of ``server``, the machine. In what they differ, ``settings`` says ("KEY=VALUE, ..."; null where the runs
    of a row's other columns are alike).

    ``latency_ns`` is the median measured prediction of the batch size that most have (of several runs the median of
    theirs), ``throughput`` the batch size over it, in samples/s. Both are null where queries were timed only, each of
    several predictions. ``optimal`` marks the smallest batch size from which a doubling raises the throughput by no
    more than 5%; the largest measured if each one raises it more. It needs two batch sizes; with one it is null.

    Raises:
        StorageError: a run's latencies are missing or damaged.
    """
    frame = pl.DataFrame([_row(run) for run in runs], infer_schema_length=None)
    frame = frame.with_columns(settings=pl.Series(_differing(frame, runs), dtype=pl.String))
    frame = frame.cast({"batch_size": pl.Int64, "latency_ns": pl.Float64})
    frame = frame.group_by(*_SAME, "batch_size").agg(runs=pl.len(), latency_ns=pl.col("latency_ns").median())
    frame = frame.with_columns(throughput=1e9 * pl.col("batch_size") / pl.col("latency_ns"))
    frame = frame.sort(*_SAME, "batch_size", nulls_last=True)
    marks: list[bool | None] = []
    for group in frame.partition_by(_SAME, maintain_order=True):
        known = group.drop_nulls("throughput")
        best = optimal(known["batch_size"].to_list(), known["throughput"].to_list())
        sizes = group.select("batch_size", "throughput").iter_rows()
        marks += [None if best is None or rate is None else size == best for size, rate in sizes]
    return frame.with_columns(optimal=pl.Series(marks, dtype=pl.Boolean))


def optimal(sizes: Sequence[int], throughputs: Sequence[float]) -> int | None:
    """The optimal batch size of ascending ones, as above; None of fewer than two.

    A step that isn't a doubling is held to the same rate of gain: a factor of 1.05 a doubling.

    >>> optimal([1, 2, 4, 8], [100, 180, 200, 204])
    4
    """
    if len(sizes) < 2:
        return None
    for small, large, before, after in zip(sizes, sizes[1:], throughputs, throughputs[1:], strict=False):
        if after <= before * (1 + WORTHWHILE) ** math.log2(large / small):
            return small
    return sizes[-1]


def _row(run: Run) -> dict[str, Any]:
    record = run.record
    facts, trace = record["model"]["describe"], record["trace"]
    size, latency = _typical(run)
    return {
        "model": record["model"]["name"],
        "framework": record["framework"]["name"],
        "device": facts.get("device"),
        "dtype": facts.get("dtype"),
        "threads": record["framework"]["describe"].get("threads"),
        "scenario": record["scenario"]["type"],
        # Where profiling is leveled, latencies are those of the shallowest run of the scenario.
        "level": next((each["level"] for each in trace.get("levels") or ()), trace["level"]),
        "batch_size": size,
        "latency_ns": latency,
    }


def _typical(run: Run) -> tuple[int | None, float | None]:
    """The batch size that most of the measured predictions have, and the median latency of these, in ns.

    Where they aren't known it is the size that was asked for, without a latency.
    """
    found = _predictions(run)
    if found is None or not found.height:
        return (run.record.get("evaluation") or {}).get("batch_size"), None
    counts = found.group_by("batch_size").len().sort("len", "batch_size", descending=True)
    usual = counts["batch_size"][0]
    latencies = found.filter(pl.col("batch_size").eq_missing(usual))["latency_ns"]
    return usual, float(latencies.to_frame().select(pl.col("latency_ns").median()).item())


def _predictions(run: Run) -> pl.DataFrame | None:
    """``batch_size`` and ``latency_ns`` of the measured predictions; None where queries were timed only."""
    record, queries = run.record, run.latencies.filter(pl.col("phase") == "measured")
    kind = record["scenario"]["type"]
    if kind in ("single_stream", "offline"):  # where each is a query
        return queries.select("latency_ns", batch_size="samples")
    most = (record.get("evaluation") or {}).get("batch_size") or 0
    whole = kind == "server" or bool((queries["samples"] <= most).all())
    if whole and "waited_ns" in queries.columns:
        # Queries that one prediction answered began and ended with it.
        begun, done = pl.col("start_ns") + pl.col("waited_ns"), pl.col("start_ns") + pl.col("latency_ns")
        together = queries.group_by(begun=begun, done=done).agg(batch_size=pl.col("samples").sum())
        return together.select("batch_size", latency_ns=pl.col("done") - pl.col("begun"))
    if depth(record["trace"]["level"]) >= depth("model"):
        return read_trace(run).predictions.select("batch_size", "latency_ns")
    return None


def _differing(frame: pl.DataFrame, runs: Sequence[Run]) -> list[str | None]:
    """For each run what it was made with, as far as runs that look alike in ``frame`` differ in it."""
    made = [_settings(run.record) for run in runs]
    looks = frame.select(_SHOWN).rows()
    texts: list[str | None] = []
    for mine, look in zip(made, looks, strict=True):
        alike = [others for others, other in zip(made, looks, strict=True) if other == look]
        keys = {setting.key for others in alike for setting in differing(alike[0], others)}
        texts.append(", ".join(f"{key}={mine[key]}" for key in sorted(keys) if key in mine) or None)
    return texts


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in settings(record).items() if key not in _BEARS_ON_NONE}
    return {**found, "environment": record["environment"]["fingerprint"][:8]}
