"""A finished scenario: what each thread recorded and LoadGen's result, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlms.hooks.types import Outputs
from mlms.manifests.types import ScenarioSpec
from mlms.scenarios import detail_log
from mlms.scenarios.detail_log import LoadGenResult
from mlms.scenarios.judging import AchievedRate, Clock, judge
from mlms.scenarios.sut import Positions, Recording

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Queries:
    """One entry a query (``offline``: a prediction), ns of ``perf_counter_ns``: issued, its prediction begun, answered.

    ``samples`` are those of the query.
    """

    issued: Times
    begun: Times
    done: Times
    samples: npt.NDArray[np.int64]

    @property
    def latencies(self) -> Times:
        """From when LoadGen issued a query to its answer."""
        return self.done - self.issued

    @property
    def waited(self) -> Times:
        """The part of it before the query's prediction began."""
        return self.begun - self.issued


@dataclass(frozen=True, slots=True)
class Measurement:
    """A finished scenario. Times in ns of ``perf_counter_ns``; ``starts`` and ``ends`` have one entry a prediction.

    ``began`` is the first prediction's start, in ``offline`` the query's arrival: its batches are made after it.
    """

    began: int
    starts: Times
    ends: Times
    answered: tuple[Positions, ...]
    outputs: tuple[tuple[Positions, Outputs], ...]
    queries: Queries
    loadgen: LoadGenResult
    rate: AchievedRate | None
    clock: Clock
    problems: tuple[str, ...]
    loadgen_version: str

    @property
    def valid(self) -> bool:
        return not self.problems

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many samples each prediction had."""
        return np.array([len(positions) for positions in self.answered], dtype=np.int64)

    @property
    def samples(self) -> int:
        return int(self.sizes.sum())

    def median_ns(self, size: int) -> float:
        """The median of the predictions of so many samples; of all where there are none of so many."""
        chosen = self.sizes == size
        times = self.ends - self.starts
        return float(np.median(times[chosen] if chosen.any() else times))

    @property
    def duration_s(self) -> float:
        """From ``began`` to the last prediction's end."""
        return float(self.ends.max() - self.began) / 1e9

    @property
    def throughput(self) -> float:
        """Samples a second."""
        return self.samples / self.duration_s

    @property
    def send_lag(self) -> tuple[float, float] | None:
        """How late LoadGen issued the queries of ``server``, in ns: mean and longest.

        LoadGen's latencies count from the scheduled arrival, ours from the issue: the difference of their means and of
        their maxima, with the microseconds that an answer takes back to LoadGen.
        """
        if self.rate is None or self.loadgen.mean_ns is None or self.loadgen.max_ns is None:
            return None
        ours = self.queries.latencies
        return max(0.0, self.loadgen.mean_ns - float(ours.mean())), max(0.0, self.loadgen.max_ns - float(ours.max()))


def measurement_of(
    spec: ScenarioSpec,
    recordings: Sequence[Recording],
    batch_size: int,
    clock: Clock,
    tail_needs: int,
    log_directory: Path,
) -> Measurement:
    """What the threads recorded and the logs say, judged."""
    starts = np.array([start for each in recordings for start in each.starts], dtype=np.int64)
    ends = np.array([end for each in recordings for end in each.ends], dtype=np.int64)
    answered = [positions for each in recordings for positions in each.answered]
    issued = [times for each in recordings for times in each.issued]
    order = np.argsort(starts, kind="stable")
    queries = _queries(spec, starts, ends, answered, issued, batch_size)
    result = detail_log.read(log_directory, spec.type, spec.target_latency_percentile)
    rate = _rate(spec, queries, result) if spec.type == "server" and spec.mode == "performance" else None
    measurement = Measurement(
        began=min([int(starts.min()), *(each.arrived for each in recordings if each.arrived is not None)]),
        starts=starts[order],
        ends=ends[order],
        answered=tuple(answered[place] for place in order),
        outputs=tuple(output for each in recordings for output in each.outputs),
        queries=queries,
        loadgen=result,
        rate=rate,
        clock=clock,
        problems=(),
        loadgen_version=version("mlcommons-loadgen"),
    )
    problems = judge(
        spec,
        result,
        answered=measurement.samples if spec.type == "offline" else len(queries.issued),
        tail_needs=tail_needs,
        duration_s=measurement.duration_s,
        clock=clock,
        rate=rate,
    )
    return replace(measurement, problems=problems)


def _queries(
    spec: ScenarioSpec,
    starts: Times,
    ends: Times,
    answered: Sequence[Positions],
    issued: Sequence[tuple[int, ...]],
    batch_size: int,
) -> Queries:
    sizes = np.array([len(positions) for positions in answered], dtype=np.int64)
    if spec.type == "server":
        arrived = np.array([moment for times in issued for moment in times], dtype=np.int64)
        order = np.argsort(arrived, kind="stable")
        begun, done = (np.repeat(times, sizes)[order] for times in (starts, ends))
        return Queries(arrived[order], begun, done, np.ones(len(arrived), dtype=np.int64))
    if spec.type == "multi_stream":
        each = -(-spec.samples_per_query // batch_size)
        begun = starts[::each]
        return Queries(begun, begun, ends[each - 1 :: each], np.full(len(begun), spec.samples_per_query))
    return Queries(starts, starts, ends, sizes)


def _rate(spec: ScenarioSpec, queries: Queries, result: LoadGenResult) -> AchievedRate:
    """The rate offered, less what fell behind: answers that came ever later, and queries that were issued ever later.

    How much later is told by medians of the latency over the first and the last tenth of the queries, and by the mean
    lag of the issues (half of the last one's where it grows), so that no single stall decides.
    """
    assert spec.target_qps is not None, "the manifest has seen to it"
    offered, count = result.scheduled_rate or spec.target_qps, len(queries.issued)
    if count < 2:
        return AchievedRate(spec.target_qps, offered, offered)
    tenth = max(1, count // 10)
    apart, later = (
        float(np.median(figures[-tenth:]) - np.median(figures[:tenth]))
        for figures in (queries.issued, queries.latencies)
    )
    scheduled_ns, lag_ns = (count - 1) / offered * 1e9, max(0.0, (result.mean_ns or 0.0) - queries.latencies.mean())
    kept_up = apart / (apart + max(0.0, later)) * scheduled_ns / (scheduled_ns + 2 * lag_ns)
    return AchievedRate(spec.target_qps, offered, offered * kept_up)
