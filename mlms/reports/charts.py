"""The geometry of a report's charts: paths in a plot of 1000 by 1000 units, ticks and marks in percent.

The template draws them as inline SVG that stretches to the page's width, with labels as text laid over it, so the
size of a chart doesn't grow with the number of queries. numpy is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlms.reports.axes import Axis, Tick, round_step, spread

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    Integers = npt.NDArray[np.int64]

PLOT = 1000
MOST_POINTS = 1500
"""Up to so many queries are drawn one by one; more are drawn as the range of each of ``TIME_BINS`` bins."""
TIME_BINS = 400
LOG_FROM = 8.0
"""The slowest query's ratio to the median from which the time chart has a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line at ``position`` percent, its label in ``row`` (0 is nearest to the plot)."""

    position: float
    label: str
    row: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Latency on x, queries on y. ``beyond`` queries above ``limit_ns`` are gathered in the last, separate bar."""

    bars: str
    tail: str
    x: Sequence[Tick]
    y: Sequence[Tick]
    marks: Sequence[Mark]
    bin_ns: float
    limit_ns: float
    beyond: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Time (or query number when ``numbered``) on x, latency on y. ``warmup_end`` is in percent of x."""

    warmup: str
    measured: str
    median: str
    warmup_end: float | None
    x: Sequence[Tick]
    y: Sequence[Tick]
    numbered: bool
    log: bool
    bins: int | None


def histogram(latencies_ns: Integers, percentiles: Sequence[Mapping[str, Any]]) -> Histogram | None:
    """Count measured latencies (ns, shape (queries,)) in equal bins; None when fewer than two queries were made.

    The width is Freedman and Diaconis' (2 IQR / n^(1/3)), held between 1/80 and 1/20 of the axis and rounded up.
    ``percentiles`` are the record's; withheld ones are not marked.
    """
    import numpy as np

    if len(latencies_ns) < 2:
        return None
    values = latencies_ns.astype(np.float64)
    low, first, third, near_top, top = np.percentile(values, [0, 25, 75, 99, 100])
    limit = top if top - low <= 2 * (near_top - low) else near_top + 0.25 * (near_top - low)
    span = max(limit - low, 20.0)
    bin_ns = round_step(min(max(2 * (third - first) / len(values) ** (1 / 3), span / 80), span / 20))
    low = float(np.floor(low / bin_ns) * bin_ns)
    bins = max(1, int(np.ceil((limit - low) / bin_ns)))
    limit = low + bins * bin_ns
    beyond = int(np.count_nonzero(values > limit))
    counts, edges = np.histogram(values[values <= limit], bins=bins, range=(low, limit))
    axis = Axis(low, limit + (2 * bin_ns if beyond else 0))
    height = Axis(0, 1.05 * max(int(counts.max()), beyond))
    bars = "".join(
        _bar(axis, height, float(edge), bin_ns, int(count)) for edge, count in zip(edges, counts, strict=False) if count
    )
    return Histogram(
        bars=bars,
        tail=_bar(axis, height, limit + bin_ns, bin_ns, beyond) if beyond else "",
        x=[tick for tick in axis.duration_ticks() if tick.position <= axis.position(limit)],
        y=height.count_ticks(),
        marks=_marks(axis, [entry for entry in percentiles if entry["value"] is not None and entry["value"] <= limit]),
        bin_ns=bin_ns,
        limit_ns=limit,
        beyond=beyond,
    )


def timeline(latencies: pl.DataFrame) -> Timeline | None:
    """Latency against the time since the first query (columns phase, start_ns, latency_ns); None without queries."""
    import numpy as np

    if latencies.height == 0:
        return None
    frame = latencies.select("phase", "start_ns", "latency_ns").sort("start_ns", maintain_order=True)
    warm = (frame["phase"] == "warmup").to_numpy()
    starts = frame["start_ns"].to_numpy().astype(np.int64)
    values = frame["latency_ns"].to_numpy().astype(np.float64)
    numbered = bool(starts[-1] == starts[0])
    times = (np.arange(len(starts)) if numbered else starts - starts[0]).astype(np.float64)
    low, middle, high = float(values.min()), float(np.median(values)), float(values.max())
    log = high > LOG_FROM * middle and low > 0
    x = Axis(0.0, max(float(times[-1]), 1.0))
    y = Axis(low * 0.9, high * 1.15, log=True) if log else Axis(0.0, max(high * 1.05, 1.0))
    binned = len(values) > MOST_POINTS
    draw = _ranges if binned else _points
    return Timeline(
        warmup=draw(x, y, times[warm], values[warm]),
        measured=draw(x, y, times[~warm], values[~warm]),
        median=_medians(x, y, times[~warm], values[~warm]) if binned else "",
        warmup_end=round(x.position(float(times[warm][-1])), 2) if warm.any() else None,
        x=x.count_ticks() if numbered else x.duration_ticks(),
        y=y.duration_ticks(4),
        numbered=numbered,
        log=log,
        bins=TIME_BINS if binned else None,
    )


def _bar(x: Axis, y: Axis, start: float, width: float, count: int) -> str:
    left, right = _across(x, start), _across(x, start + width)
    gap = min(1.0, (right - left) / 5)
    return f"M{left:.1f} {PLOT}V{_down(y, count):.1f}H{right - gap:.1f}V{PLOT}Z"


def _points(x: Axis, y: Axis, times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> str:
    """Each query as a stroke of no length, which round caps make a dot."""
    pairs = zip(times, values, strict=True)
    return "".join(f"M{_across(x, time):.1f} {_down(y, value):.1f}h0" for time, value in pairs)


def _ranges(x: Axis, y: Axis, times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> str:
    """The fastest to the slowest query of each bin as one vertical stroke."""
    return "".join(
        f"M{across:.1f} {_down(y, float(part.min())):.1f}V{_down(y, float(part.max())) - 0.1:.1f}"
        for across, part in _binned(x, times, values)
    )


def _medians(x: Axis, y: Axis, times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> str:
    import numpy as np

    points = [f"{across:.1f} {_down(y, float(np.median(part))):.1f}" for across, part in _binned(x, times, values)]
    return "M" + "L".join(points) if points else ""


def _binned(
    x: Axis, times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> list[tuple[float, npt.NDArray[np.float64]]]:
    """The values of each bin that has any, with the bin's centre in plot units. ``times`` ascend."""
    import numpy as np

    edges = np.searchsorted(times, np.linspace(x.low, x.high, TIME_BINS + 1)[1:-1], side="left")
    centres = (np.arange(TIME_BINS) + 0.5) * PLOT / TIME_BINS
    parts = zip(centres, np.split(values, edges), strict=True)
    return [(float(centre), part) for centre, part in parts if len(part)]


def _marks(axis: Axis, percentiles: Sequence[Mapping[str, Any]]) -> list[Mark]:
    ordered = sorted(percentiles, key=lambda entry: entry["value"])
    positions = [round(axis.position(entry["value"]), 2) for entry in ordered]
    rows = spread(positions, apart=9)
    return [
        Mark(position, f"p{entry['percentile']:g}", row)
        for position, entry, row in zip(positions, ordered, rows, strict=True)
    ]


def _across(axis: Axis, value: float) -> float:
    return axis.position(value) * PLOT / 100


def _down(axis: Axis, value: float) -> float:
    return PLOT - axis.position(value) * PLOT / 100
