"""The model as a whole: latency and throughput by batch size (A1 of XSP). Imports polars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from mlms.runs.run import Run

WORTHWHILE = 0.05
"""Doubling the batch must raise the throughput by more than this to be worth it (XSP's rule)."""

_SAME = ("model", "framework", "device", "dtype", "threads")


def model_information(runs: Sequence[Run]) -> pl.DataFrame:
    """A1: a row for each model, framework, device, dtype, number of threads and batch size.

    ``latency_ns`` is the median measured prediction (of several runs the median of theirs), ``throughput`` the batch
    size over it, in samples/s. ``optimal`` marks the smallest batch size from which a doubling raises the throughput
    by no more than 5%; the largest measured if each one raises it more. It needs two batch sizes; with one it is null.

    Raises:
        StorageError: a run's latencies are missing or damaged.
    """
    frame = pl.DataFrame([_row(run) for run in runs], infer_schema_length=None)
    frame = frame.group_by(*_SAME, "batch_size").agg(runs=pl.len(), latency_ns=pl.col("latency_ns").median())
    frame = frame.with_columns(throughput=1e9 * pl.col("batch_size") / pl.col("latency_ns"))
    frame = frame.sort(*_SAME, "batch_size", nulls_last=True)
    marks: list[bool | None] = []
    for group in frame.partition_by(_SAME, maintain_order=True):
        best = optimal(group["batch_size"].to_list(), group["throughput"].to_list())
        marks += [None if best is None else size == best for size in group["batch_size"]]
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
    facts = record["model"]["describe"]
    measured = run.latencies.filter(pl.col("phase") == "measured")
    full = measured.filter(pl.col("samples") == pl.col("samples").max())  # the last batch may be a part of one
    return {
        "model": record["model"]["name"],
        "framework": record["framework"]["name"],
        "device": facts.get("device"),
        "dtype": facts.get("dtype"),
        "threads": record["framework"]["describe"].get("threads"),
        "batch_size": full["samples"].max(),
        "latency_ns": full["latency_ns"].median(),
    }
