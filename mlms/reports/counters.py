"""What profilers sampled: a line a figure, from the record, and a chart a figure, from the table of counters.

numpy and polars are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any

from mlms.reports.axes import Axis, Tick

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from mlms.tracing.observations import Counter

    Floats = npt.NDArray[np.float64]

PLOT = 1000
BINS = 300
"""Points of a line at most; of more samples the median of each bin is drawn."""
MOST_LINES = 8
"""Series that are drawn one by one; of more the least, median and most at each time."""
SIDE_BY_SIDE = 3
"""Series of one name that a line of text tells apart."""

_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))
_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SYMBOLS = {"Cel": "°C"}


@dataclass(frozen=True, slots=True)
class Line:
    """A series in a chart: its label ("" for the only one), its path in a plot of 1000 by 1000 units."""

    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure over the time since the trace's start. ``measured`` is from where to where the measured region is, in
    percent of x; None where there is none.
    """

    name: str
    unit: str
    lines: Sequence[Line]
    x: Sequence[Tick]
    y: Sequence[Tick]
    measured: tuple[float, float] | None


def counter_lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Labels and texts: of each gauge its median and range over the measured region, of each sum what it rose by.

    Of more series of one name (processors, sensors) than can be told apart it is the median of them. What was 0 all
    along is left out.
    """
    for name, group in groupby(record.get("counters") or (), lambda entry: str(entry["name"])):
        entries = list(group)
        gauge = entries[0]["kind"] == "gauge"
        key = "median" if gauge else "increase"
        most = max(max(abs(entry["max"]), abs(entry["min"]), abs(entry[key])) for entry in entries)
        if not most:
            continue
        factor, unit = scale_of(entries[0]["unit"], most if gauge else max(entry[key] for entry in entries))
        if 1 < len(entries) <= SIDE_BY_SIDE:
            labels = _labels([entry["attributes"] for entry in entries])
            figures = [f"{label}: {_figure(entry[key], factor)}" for label, entry in zip(labels, entries, strict=True)]
            yield name, f"{', '.join(figures)} {unit}".rstrip()
            continue
        values = (
            min(entry["min" if gauge else key] for entry in entries),
            median(entry[key] for entry in entries),
            max(entry["max" if gauge else key] for entry in entries),
        )
        low, middle, high = (_figure(value, factor) for value in values)
        between = "" if low == high else f" ({low} to {high})"
        many = f" in {len(entries)} series" if len(entries) > 1 else ""
        yield name, f"{middle} {unit}".rstrip() + between + many


def charts(counters: Sequence[Counter], zero_ns: int | None, measured_ns: tuple[int, int] | None) -> list[Chart]:
    """A chart for each name, of values or, of sums, rates a second.

    ``zero_ns`` is where the trace starts (None: with the first sample), ``measured_ns`` the measured region; Unix time.
    """
    drawn = [(counter, *_points(counter)) for counter in counters]
    drawn = [one for one in drawn if len(one[1])]
    if not drawn:
        return []
    first = min(int(times[0]) for _, times, _ in drawn)
    last = max(int(times[-1]) for _, times, _ in drawn)
    zero = first if zero_ns is None else zero_ns
    x = Axis(float(first - zero), float(max(last, first + 1) - zero))
    measured = None
    if measured_ns is not None and measured_ns[0] < last and measured_ns[1] > first:
        measured = round(x.position(measured_ns[0] - zero), 2), round(x.position(measured_ns[1] - zero), 2)
    made = []
    for name, group in groupby(drawn, lambda one: one[0].name):
        series = list(group)
        counter = series[0][0]
        lines = [(times - zero, values) for _, times, values in series]
        labels = _labels([one.attributes for one, _, _ in series])
        if len(series) > MOST_LINES:
            lines, labels = _spread(lines), ["least", "median", "most"]
        low = min(float(values.min()) for _, values in lines)
        high = max(float(values.max()) for _, values in lines)
        factor, unit = scale_of(counter.unit, max(abs(low), abs(high)))
        unit += "/s" if counter.kind == "sum" else ""
        y = _height(low / factor, high / factor)
        paths = [_path(x, y, times, values / factor) for times, values in lines]
        ticks = [Tick(round(y.position(value), 2), f"{value:,.10g}") for value in y.values(3)]
        drawn_lines = [Line(label, path) for label, path in zip(labels, paths, strict=True)]
        made.append(Chart(name, unit, drawn_lines, x.duration_ticks(4), ticks, measured))
    return made


def scale_of(unit: str, most: float) -> tuple[float, str]:
    """What to divide values of a UCUM unit by to show them, ``most`` the largest of them, and the unit then.

    >>> scale_of("By", 3e9), scale_of("1", 0.5), scale_of("{context_switch}", 12.0), scale_of("Hz", 2.4e9)
    ((1073741824, 'GiB'), (0.01, '%'), (1.0, 'context switches'), (1000000000.0, 'GHz'))
    """
    if unit == "By":
        return next((entry for entry in _BINARY if most >= entry[0]), _BINARY[-1])
    if unit == "1":
        return 0.01, "%"
    if unit.startswith("{"):  # what is counted, in English
        word = unit.strip("{}").replace("_", " ")
        return 1.0, word + ("es" if word.endswith(("s", "sh", "ch")) else "s")
    scale, prefix = next((entry for entry in _DECIMAL if most >= entry[0]), (1.0, ""))
    return scale, prefix + _SYMBOLS.get(unit, unit)


def _figure(value: float, factor: float) -> str:
    """Three digits, more before the point where there are more."""
    shown = value / factor
    return f"{shown:,.0f}" if abs(shown) >= 99.95 else f"{shown:,.3g}"


def _labels(attributes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The values that tell series of one name apart."""
    keys = [key for key in attributes[0] if len({str(one.get(key)) for one in attributes}) > 1]
    return [" ".join(str(one.get(key, "")) for key in keys) for one in attributes]


def _points(counter: Counter) -> tuple[npt.NDArray[np.int64], Floats]:
    """Times and values to draw: of a sum the rate a second up to each sample."""
    import numpy as np

    times, values = counter.time_ns, counter.value
    if counter.kind == "sum":
        spans = np.diff(times)
        there = spans > 0
        times, values = times[1:][there], np.diff(values)[there] / spans[there] * 1e9
    finite = np.isfinite(values)
    return times[finite], values[finite]


def _spread(lines: Sequence[tuple[npt.NDArray[np.int64], Floats]]) -> list[tuple[npt.NDArray[np.int64], Floats]]:
    """The least, median and most of many series at each time of the first."""
    import numpy as np

    times = lines[0][0]
    table = np.stack([np.interp(times, others, values) for others, values in lines])
    return [(times, table.min(axis=0)), (times, np.median(table, axis=0)), (times, table.max(axis=0))]


def _height(low: float, high: float) -> Axis:
    """From 0 on, unless the figure stays so far from it that its course would not be seen."""
    if low == high == 0:
        return Axis(0.0, 1.0)
    if low < 0 or high - low < 0.1 * high:
        margin = max(high - low, 0.02 * abs(high)) / 2
        return Axis(low - margin, high + margin)
    return Axis(0.0, 1.05 * high)


def _path(x: Axis, y: Axis, times: npt.NDArray[np.int64], values: Floats) -> str:
    import numpy as np

    if len(times) > BINS:
        parts = np.array_split(np.arange(len(times)), BINS)
        times = np.array([times[part[len(part) // 2]] for part in parts])
        values = np.array([np.median(values[part]) for part in parts])
    points = [
        f"{x.position(time) * PLOT / 100:.1f} {PLOT - y.position(value) * PLOT / 100:.1f}"
        for time, value in zip(times.tolist(), values.tolist(), strict=True)
    ]
    # A line of a single point is a dot, which round caps make of a stroke of no length.
    return f"M{'L'.join(points)}" + ("h0" if len(points) == 1 else "")


def measured_window(latencies: pl.DataFrame | None) -> tuple[int, int] | None:
    """From the first measured query to the end of the last one, Unix ns."""
    if latencies is None:
        return None
    measured = latencies.filter(latencies["phase"] == "measured")
    if not measured.height:
        return None
    ends = measured["start_ns"] + measured["latency_ns"]
    return int(measured["start_ns"].min()), int(ends.max())  # type: ignore[arg-type]
