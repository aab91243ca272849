"""Whether a measurement counts, and if not, why and what would make it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from mlms.manifests.types import ScenarioSpec
from mlms.runs.summary import format_duration
from mlms.scenarios.detail_log import LoadGenResult

LEAST_SHARE = 0.99
"""Of the rate offered that ``server`` must keep up with."""
CLOCK_TOLERANCE_NS, CLOCK_TOLERANCE_SHARE = 1_000_000, 0.001


@dataclass(frozen=True, slots=True)
class Clock:
    """The test's duration on the system's clock, which LoadGen reads and which can be set, and on a steady one."""

    wall_ns: int
    monotonic_ns: int

    @property
    def agree(self) -> bool:
        """Within 1 ms and 0.1%: twice what a time service slews a clock by at most."""
        allowed = CLOCK_TOLERANCE_NS + CLOCK_TOLERANCE_SHARE * self.monotonic_ns
        return abs(self.wall_ns - self.monotonic_ns) <= allowed


@dataclass(frozen=True, slots=True)
class AchievedRate:
    """Queries a second of ``server``: asked for in the manifest, offered by LoadGen's random schedule, and answered.

    ``achieved`` is what was offered less what fell behind; ``share`` is its part of the target, or of what was offered
    where the schedule happens to offer less.
    """

    target: float
    offered: float
    achieved: float

    @property
    def share(self) -> float:
        return self.achieved / min(self.target, self.offered)


def judge(
    spec: ScenarioSpec,
    result: LoadGenResult,
    *,
    answered: int,
    tail_needs: int,
    duration_s: float,
    clock: Clock,
    rate: AchievedRate | None,
) -> tuple[str, ...]:
    """What keeps a measurement from being valid, a sentence each that says what would help; none: it is valid.

    ``spec.min_query_count`` is the number that was to be met and ``answered`` the number that was, of queries (offline:
    samples); ``tail_needs`` is what the percentile takes at 99% confidence.
    """
    found = list(_problems(spec, result, answered, tail_needs, duration_s, clock, rate))
    if result.result == "INVALID" and not found:
        found = [f"LoadGen: {reason}" for reason in (*result.reasons, *result.errors)] or ["LoadGen: invalid"]
    return tuple(found)


def _problems(
    spec: ScenarioSpec,
    result: LoadGenResult,
    answered: int,
    tail_needs: int,
    duration_s: float,
    clock: Clock,
    rate: AchievedRate | None,
) -> Iterator[str]:
    if not clock.agree:
        apart = format_duration(clock.wall_ns - clock.monotonic_ns)
        yield f"the system's clock, which LoadGen reads, was moved by {apart} meanwhile: run it again"
    if spec.mode == "accuracy":
        return
    given_up = any("outstanding" in error for error in result.errors)
    if rate is not None and (given_up or rate.share < LEAST_SHARE):
        backlog = "; LoadGen gave up on a growing queue" if given_up else ""
        yield (
            f"{rate.achieved:.4g} queries/s were answered of the {min(rate.target, rate.offered):.4g} offered "
            f"({rate.share:.1%}, at least {LEAST_SHARE:.0%} are needed){backlog}: lower target_qps, or add workers or "
            "dynamic_batching"
        )
    yield from _latency(spec, result)
    if given_up:
        return  # what is too short follows from that
    if result.met.get("duration") is False:
        yield _too_short(spec, duration_s)
    yield from _count(spec, answered, tail_needs, duration_s)
    if spec.type == "server" and result.met.get("early_stopping") is False and result.met.get("constraints"):
        more = "" if result.more_needed is None else f" ({answered + result.more_needed} queries at least)"
        yield (
            f"too few queries to be sure of p{spec.target_latency_percentile:g} at 99% confidence: raise min_duration "
            f"or min_queries{more}"
        )


def _latency(spec: ScenarioSpec, result: LoadGenResult) -> Iterator[str]:
    if spec.target_latency is None:
        return
    percentile, target_ns = spec.target_latency_percentile, spec.target_latency * 1e9
    target = format_duration(target_ns)
    if spec.type == "server":
        if result.met.get("constraints") is False:
            value = result.percentiles.get(percentile)
            figure = "" if value is None else f", {format_duration(value)},"
            yield f"p{percentile:g}{figure} is over the target of {target}: lower target_qps or raise target_latency"
    elif (bound := result.early_stopping.get(percentile)) is not None and bound > target_ns:
        mend = "lower samples_per_query or raise" if spec.type == "multi_stream" else "raise"
        seen = format_duration(bound)
        yield f"p{percentile:g}, {seen} at 99% confidence, is over the target of {target}: {mend} target_latency"


def _too_short(spec: ScenarioSpec, duration_s: float) -> str:
    took = f"the measurement took {duration_s:.3g} s of at least {spec.min_duration:g} s"
    if spec.type == "offline":
        rate = spec.min_duration / max(duration_s, 1e-9)
        return f"{took}: set offline_expected_qps {rate:.1f} times as high, or warm up longer"
    return f"{took}: warm up longer, so that LoadGen plans with the latency that it then sees"


def _count(spec: ScenarioSpec, answered: int, tail_needs: int, duration_s: float) -> Iterator[str]:
    unit = "samples" if spec.type == "offline" else "queries"
    wanted = spec.min_query_count or 1
    if answered < wanted:
        takes = math.ceil(wanted * duration_s / max(answered, 1))
        yield f"{answered} {unit} of at least {wanted}: at this rate they take {takes} s, so raise max_duration"
    elif answered < tail_needs and spec.type != "offline":
        yield (
            f"{answered} queries, of which p{spec.target_latency_percentile:g} needs {tail_needs}: raise "
            "min_queries, or leave it out"
        )
