"""What LoadGen wrote about a test, from the ``:::MLLOG`` lines of its detail log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlms.errors import Place, StorageError

FILE = "mlperf_log_detail.txt"

_PERCENTILE = re.compile(r"result_([0-9.]+)_percentile(_per_query)?_latency_ns")
_RATES = (
    ("result_completed_samples_per_sec", "queries/s"),
    ("result_samples_per_second", "samples/s"),
    ("result_qps_with_loadgen_overhead", "queries/s"),
)


@dataclass(frozen=True, slots=True)
class LoadGenResult:
    """LoadGen's own figures. Latencies in ns, of a query; by percentile in ``percentiles``.

    ``result`` is "VALID" or "INVALID", None in accuracy mode, which LoadGen doesn't judge. ``early_stopping`` holds its
    bounds on percentiles at 99% confidence, ``met`` its verdict on each of its rules.
    """

    result: str | None = None
    reasons: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    met: Mapping[str, bool] = field(default_factory=dict)
    percentiles: Mapping[float, int] = field(default_factory=dict)
    early_stopping: Mapping[float, int] = field(default_factory=dict)
    mean_ns: float | None = None
    min_ns: float | None = None
    max_ns: float | None = None
    rate: tuple[float, str] | None = None
    scheduled_rate: float | None = None
    more_needed: int | None = None
    """Queries that ``server`` lacks for its percentile to be certain."""


def read(directory: Path, kind: str, target_percentile: float) -> LoadGenResult:
    """The result in LoadGen's log directory of a scenario ``kind`` whose tail is ``target_percentile``.

    Raises:
        StorageError: the log is cut off. LoadGen itself doesn't notice that it couldn't write.
    """
    values: dict[str, Any] = {}
    reasons, errors = [], []
    for line in _lines(directory / FILE):
        if not line.startswith(":::MLLOG "):
            continue
        entry = json.loads(line.removeprefix(":::MLLOG "))
        values[entry["key"]] = entry["value"]
        if entry["key"] == "result_invalid_reason":
            reasons.append(str(entry["value"]).strip())
        elif entry["metadata"].get("is_error"):
            errors.append(str(entry["value"]))
    per_query = "_per_query" if kind == "multi_stream" else None
    found = {match: value for key, value in values.items() if (match := _PERCENTILE.fullmatch(key))}
    mode = values.get("effective_test_mode")
    if mode is None or (mode == "PerformanceOnly" and not found):
        raise _cut_off(directory / FILE)
    ours, tail = ("_query", target_percentile) if per_query else ("", 99.0)
    bounds = {tail: values.get("early_stopping_latency_ms"), target_percentile: values.get("early_stopping_latency_ss")}
    if per_query:
        bounds = {tail: values.get("early_stopping_latency_ms")}
    more = re.search(r"at least (\d+) more", str(values.get("early_stopping_result", "")))
    return LoadGenResult(
        result=values.get("result_validity"),
        reasons=tuple(reasons),
        errors=tuple(errors),
        met={
            rule: values[key]
            for rule, key in (
                ("constraints", "result_perf_constraints_met"),
                ("duration", "result_min_duration_met"),
                ("queries", "result_min_queries_met"),
                ("early_stopping", "early_stopping_met"),
            )
            if key in values
        },
        percentiles={float(match[1]): int(value) for match, value in found.items() if match[2] == per_query},
        early_stopping={percentile: int(bound) for percentile, bound in sorted(bounds.items()) if bound},
        mean_ns=values.get(f"result_mean{ours}_latency_ns"),
        min_ns=values.get(f"result_min{ours}_latency_ns"),
        max_ns=values.get(f"result_max{ours}_latency_ns"),
        rate=next(((float(values[key]), unit) for key, unit in _RATES if key in values), None),
        scheduled_rate=values.get("result_scheduled_samples_per_sec"),
        more_needed=int(more[1]) if more else None,
    )


def _lines(log: Path) -> list[str]:
    try:
        text = log.read_text("utf-8", errors="replace")
    except OSError as error:
        raise _cut_off(log) from error
    if not text.endswith("\n"):
        raise _cut_off(log)
    return text.splitlines()


def _cut_off(log: Path) -> StorageError:
    return StorageError(
        "LoadGen's log is incomplete; is the disk full?",
        place=Place(log),
        hint="free some space, or choose another disk with --output or MLMS_RUNS",
    )
