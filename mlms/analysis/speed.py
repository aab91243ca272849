"""Latency and throughput of runs, and how much they would vary. Imports polars; imported lazily."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.analysis.bootstrap import block_quantiles, block_rates, blocks, effective_size, expanded
from mlms.analysis.effects import Effect, ratio_verdict
from mlms.analysis.intervals import CONFIDENCE, Interval, nearest_rank, welch_ratio
from mlms.analysis.measured import Measured

REPEATS = 3
"""Fewest repeats that intervals across them are taken from."""
FEW_BEYOND, FEW_EFFECTIVE = 100, 15
TAIL_CONFIDENCE = 0.99
"""Where a bootstrap's intervals are too narrow: of a percentile with fewer queries beyond it than ``FEW_BEYOND``, of a
throughput whose variance rests on fewer (``effective_size``) than ``FEW_EFFECTIVE``."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured in one run or several repeats.

    ``runs`` has each repeat's figures by metric; ``deviations`` the factors by which a metric of the whole would come
    out otherwise if each run were observed again, shape (resamples,), by bootstrap of blocks.
    """

    runs: tuple[Mapping[str, float], ...]
    deviations: Mapping[str, Floats]
    queries: int
    """Of the smallest run."""
    effective: float
    """Of them, those that the variance of the throughput rests on; of the run with the fewest."""
    steady: bool
    """Whether no run was found drifting, bimodal or otherwise not steady."""

    @classmethod
    def of(cls, runs: Sequence[Measured], seed: int) -> Speed:
        measured = [run for run in runs if run.record.get("latency") and run.record.get("throughput")]
        figures = tuple(_figures(run.record) for run in measured)
        logs: dict[str, Floats] = {}
        effective = math.inf
        for number, run in enumerate(measured):
            factors, rests_on = _deviations(run, [seed, number])
            effective = min(effective, rests_on)
            for metric, found in factors.items():
                logs[metric] = logs.get(metric, np.zeros(1)) + np.log(found) / len(measured)
        queries = min((run.record["latency"]["queries"] for run in measured), default=0)
        steady = all(_label(run.record) in ("steady", "unknown") for run in measured)
        deviations = {metric: np.exp(found) for metric, found in logs.items()}
        return cls(figures, deviations, queries, effective, steady)

    @property
    def repeated(self) -> bool:
        return len(self.runs) >= REPEATS

    @property
    def throughput(self) -> float | None:
        return self.figure("throughput")

    @property
    def percentiles(self) -> dict[str, float]:
        """``latency.p50`` and on, in ns; those that every repeat supports."""
        names = (name for name in (self.runs[0] if self.runs else {}) if name.startswith("latency."))
        return {name: value for name in names if (value := self.figure(name)) is not None}

    def figure(self, metric: str) -> float | None:
        """The geometric mean over the repeats; None where one of them has none."""
        values = [run[metric] for run in self.runs if metric in run]
        if not values or len(values) < len(self.runs):
            return None
        return values[0] if len(values) == 1 else math.exp(math.fsum(map(math.log, values)) / len(values))


def latency_effects(baseline: Speed, other: Speed, margin: float) -> Iterator[Effect]:
    """The ratio of each percentile that both have."""
    for metric in baseline.percentiles:
        yield from _ratio(metric, "ns", baseline, other, False, margin)


def throughput_effect(baseline: Speed, other: Speed, margin: float) -> Iterator[Effect]:
    yield from _ratio("throughput", "samples/s", baseline, other, True, margin)


def _ratio(
    metric: str, unit: str, baseline: Speed, other: Speed, higher_is_better: bool, margin: float
) -> Iterator[Effect]:
    ours, theirs = baseline.figure(metric), other.figure(metric)
    if ours is None or theirs is None:
        return
    interval: Interval | None = None
    if baseline.repeated and other.repeated:
        interval = welch_ratio([run[metric] for run in baseline.runs], [run[metric] for run in other.runs])
    elif metric in baseline.deviations and metric in other.deviations:
        factors = other.deviations[metric] / baseline.deviations[metric]
        queries = min(baseline.queries, other.queries)
        confidence = _confidence(metric, queries, min(baseline.effective, other.effective))
        inside = expanded(confidence, blocks(queries))
        low, high = theirs / ours * np.quantile(factors, [(1 - inside) / 2, (1 + inside) / 2])
        interval = Interval(float(low), float(high), confidence, "block bootstrap within runs")
    # What varies between runs of an unsteady series, within one of them nothing tells.
    blind = not (baseline.repeated and other.repeated) and not (baseline.steady and other.steady)
    verdict = "unknown" if interval is None or blind else ratio_verdict(interval, higher_is_better, margin)
    note = "not steady" if blind else ""
    yield Effect(metric, unit, ours, theirs, "ratio", theirs / ours, interval, None, verdict, note)


def _label(record: Mapping[str, Any]) -> str:
    return str((record["latency"].get("steadiness") or {}).get("label", "unknown"))


def _confidence(metric: str, queries: int, effective: float) -> float:
    if not metric.startswith("latency.p"):
        return CONFIDENCE if effective >= FEW_EFFECTIVE else TAIL_CONFIDENCE
    beyond = queries * (1 - float(metric.removeprefix("latency.p")) / 100)
    return CONFIDENCE if beyond >= FEW_BEYOND else TAIL_CONFIDENCE


def _figures(record: Mapping[str, Any]) -> dict[str, float]:
    found = {
        f"latency.p{entry['percentile']:g}": float(entry["value"])
        for entry in record["latency"]["percentiles"]
        if entry["value"]
    }
    rate = record["throughput"]["value"]
    return found | ({"throughput": float(rate)} if rate else {})


def _deviations(run: Measured, seed: Sequence[int]) -> tuple[dict[str, Floats], float]:
    """A run's ``Speed.deviations``, and its ``Speed.effective``."""
    import polars as pl

    frame = run.latencies.filter(pl.col("phase") == "measured").sort("start_ns", maintain_order=True)
    series = frame["latency_ns"].to_numpy()
    if len(series) < 2:
        return {}, 0.0
    entries = [entry for entry in run.record["latency"]["percentiles"] if entry["value"]]
    levels = [entry["percentile"] / 100 for entry in entries]
    found: dict[str, Floats] = {}
    if levels:
        drawn = block_quantiles(series, levels, seed)
        ordered = np.sort(series)
        for number, (level, entry) in enumerate(zip(levels, entries, strict=True)):
            own = float(ordered[nearest_rank(level, len(ordered)) - 1])
            found[f"latency.p{entry['percentile']:g}"] = drawn[:, number] / max(own, 1.0)
    # Completions, not starts: in the offline scenario all queries may have been issued at once.
    starts = frame["start_ns"].to_numpy()
    order = np.argsort(starts + series, kind="stable")
    gaps = np.diff((starts + series)[order], prepend=starts.min())
    amounts = frame["samples"].to_numpy()[order].astype(np.int64)
    total = int(gaps.sum())
    if total > 0:
        found["throughput"] = block_rates(amounts, gaps, seed) / (int(amounts.sum()) / total)
    return found, effective_size(gaps)
