"""The largest load that is still valid, found by bisection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlms.analysis.latency import queries_needed
from mlms.errors import InputError
from mlms.executor.measuring import least_queries
from mlms.manifests.types import Plan

SEARCHED = {"server": "target_qps", "multi_stream": "samples_per_query"}
"""What is searched in which scenario."""
PRECISION = 0.05
DIGITS = 4
CHANCE = 1.15
"""Arrivals are random: at so many times the rate that a number of queries needs on average they are there in time."""
MOST_STEPS = 30
"""Doublings or halvings before the search gives up: a factor of a billion."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One load that was tried: an ordinary run. ``latency_ns`` is that of the scenario's percentile."""

    value: float
    valid: bool
    problems: tuple[str, ...]
    run: Path | None
    resumed: bool = False
    latency_ns: float | None = None
    achieved: float | None = None


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest valid ``value`` of ``parameter``, within ``precision``; None where none from ``least`` on was valid.

    ``below`` says why no smaller one was tried.
    """

    parameter: str
    value: float | None
    precision: float
    least: float
    below: str
    probes: tuple[Probe, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Search:
    """What to search, where to begin, and the smallest value that can be tried, with the reason."""

    parameter: str
    start: float
    least: float
    below: str


def search_of(plan: Plan) -> Search:
    """What to search in a plan.

    Raises:
        InputError: it isn't one evaluation of a scenario that has a peak, with a bound on its latency.
    """
    if len(plan.evaluations) != 1:
        hint = "leave one, as with --set model=NAME"
        raise InputError(
            f"a peak is searched for one evaluation, and '{plan.name}' has {len(plan.evaluations)}", hint=hint
        )
    spec = plan.evaluations[0].scenario
    if spec.type not in SEARCHED or spec.mode != "performance":
        hint = "server has a peak of target_qps, multi_stream one of samples_per_query"
        raise InputError(f"there is no peak to find in {spec.type}, {spec.mode} mode", hint=hint)
    if spec.target_latency is None:
        raise InputError("without a target latency any load is valid", hint="set scenario.target_latency")
    if spec.type == "multi_stream":
        return Search("samples_per_query", spec.samples_per_query, 1, "a query is of one sample at least")
    assert spec.target_qps is not None, "the manifest has seen to it"
    queries = max(least_queries(spec, 0), queries_needed(spec.target_latency_percentile))
    least = float(f"{CHANCE * queries / spec.max_duration:.{DIGITS}g}")
    below = (
        f"{queries} queries take longer than max_duration ({spec.max_duration:g} s) at a lower rate: raise "
        "scenario.max_duration to try one"
    )
    return Search("target_qps", max(spec.target_qps, least), least, below)


def largest_valid(
    valid: Callable[[float], bool], start: float, *, precision: float, whole: bool, least: float = 0
) -> float | None:
    """The largest value from ``least`` on that is ``valid``: doubled or halved from ``start`` until bracketed, then
    bisected.

    Ends where the bracket's ends are within ``precision`` of one another (``whole`` numbers: or neighbours). Values
    have few digits and follow from the answers alone, so that a search that is repeated asks the same ones.

    >>> largest_valid(lambda rate: rate <= 700, 100, precision=0.05, whole=False)
    700.0
    """
    low: float | None = None
    high: float | None = None
    value = start
    for _ in range(MOST_STEPS):
        if valid(value):
            low = value
        else:
            high = value
        if low is not None and high is not None:
            if high <= low * (1 + precision) or (whole and high - low <= 1):
                return low
            value = _rounded((low + high) / 2, whole)
            if not low < value < high:
                return low
        elif low is not None:
            value = _rounded(low * 2, whole)
        elif value <= least or (whole and value <= 1):
            return None
        else:
            value = max(_rounded(value / 2, whole), least)
    return low


def _rounded(value: float, whole: bool) -> float:
    return max(1, int(value)) if whole else float(f"{value:.{DIGITS}g}")
