from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fakes.counters import START_NS, at, counter
from fakes.stored_run import stored_run
from mlms.analysis.counters import summarize_counters
from mlms.reports.counters import charts, counter_lines, measured_window
from mlms.reports.html import render_run
from mlms.tracing.counters import CounterTable

BUSY = [counter("system.cpu.utilization", [0.1 * n % 1 for n in range(40)], number=cpu) for cpu in range(3)]
MEMORY = counter("process.memory.usage", [700 * 2**20] * 40, unit="By")
FAULTS = [
    counter("process.paging.faults", np.cumsum([0] + [5] * 39).tolist(), kind="sum", unit="{fault}", type="minor"),
    counter("process.paging.faults", [0.0] * 40, kind="sum", unit="{fault}", type="major"),
]


def lines(*counters: Any) -> dict[str, str]:
    return dict(counter_lines({"counters": summarize_counters(counters, (at(0), at(4)))}))


def test_a_line_for_each_figure() -> None:
    watts = [counter("hw.power", [100.0, 250.5 + gpu], unit="W", id=f"GPU-{gpu}") for gpu in range(5)]
    still = counter("mlms.gpu.slowdown", [0.0] * 40)
    assert lines(*BUSY, MEMORY, *FAULTS, *watts, still) == {
        "system.cpu.utilization": "0: 45, 1: 45, 2: 45 %",
        "process.memory.usage": "700 MiB",
        "process.paging.faults": "minor: 195, major: 0 faults",
        "hw.power": "176 W (100 to 254) in 5 series",
    }
    assert lines(BUSY[0]) == {"system.cpu.utilization": "45 % (0 to 90)"}
    two_apart = [counter("hw.power", [value] * 2, unit="W", id=str(value)) for value in (100.0, 200.0, 300.0, 500.0)]
    assert lines(*two_apart) == {"hw.power": "250 W (100 to 500) in 4 series"}
    assert dict(counter_lines({})) == {}, "a record of before there were counters"


@pytest.mark.parametrize(
    ("unit", "kind", "values", "told"),
    [
        ("Hz", "gauge", [2.4e9, 2.4e9], "2.4 GHz"),
        ("Cel", "gauge", [61.0, 61.0], "61 °C"),
        ("J", "sum", [0.0, 12.5], "12.5 J"),
        ("{context_switch}", "sum", [0.0, 1234567.0], "1,234,567 context switches"),
        ("{miss}", "sum", [0.0, 7.0], "7 misses"),
        ("s", "sum", [0.0, 0.25], "0.25 s"),
        ("1", "gauge", [-0.5, -0.5], "-50 %"),
    ],
)
def test_units(unit: str, kind: Any, values: list[float], told: str) -> None:
    assert lines(counter("x", values, kind=kind, unit=unit)) == {"x": told}


def test_charts_lie_on_the_time_axis_of_the_trace() -> None:
    made = charts([*BUSY, MEMORY, *FAULTS], START_NS - 10**9, (at(1), at(3)))
    busy, memory, faults = made
    assert [chart.name for chart in made] == ["system.cpu.utilization", "process.memory.usage", "process.paging.faults"]
    assert [chart.unit for chart in made] == ["%", "MiB", "faults/s"]
    assert [line.label for line in busy.lines] == ["0", "1", "2"]
    assert [line.label for line in faults.lines] == ["minor", "major"]
    assert [line.label for line in memory.lines] == [""]
    assert busy.lines[0].path.startswith("M0.0 1000.0L25.6 ")
    assert busy.measured == (25.64, 76.92)
    assert [tick.label for tick in busy.x] == ["1 s", "2 s", "3 s", "4 s"]
    assert busy.x[0].position == 0, "the first sample is a second after the trace's start"
    assert {tick.label for tick in faults.y} == {"0", "20", "40"}
    minor = faults.lines[0].path.removeprefix("M").split("L")
    assert len({point.split()[1] for point in minor}) == 1, "5 a tenth of a second all along"


def test_many_series_are_a_band_and_long_ones_are_thinned() -> None:
    many = [counter("busy", [cpu / 100] * 5, number=cpu) for cpu in range(64)]
    (chart,) = charts(many, None, None)
    assert [line.label for line in chart.lines] == ["least", "median", "most"]
    assert chart.measured is None
    (long,) = charts([counter("x", np.sin(np.arange(50_000) / 5000).tolist())], None, None)
    assert len(long.lines[0].path) < 10_000
    assert long.lines[0].path.count("L") == 299


def test_what_can_t_be_drawn() -> None:
    assert charts([], None, None) == []
    assert charts([counter("x", [float("nan")]), counter("y", [0.0], kind="sum")], None, None) == []
    (dot,) = charts([counter("x", [3.0])], None, None)
    assert dot.lines[0].path.endswith("h0")
    (flat,) = charts([counter("x", [0.0, 0.0])], None, None)
    assert "nan" not in flat.lines[0].path
    (outside,) = charts([counter("x", [1.0, 2.0])], None, (at(50), at(60)))
    assert outside.measured is None


def test_the_report_has_a_section_for_them() -> None:
    run = stored_run(200)
    start = int(run.spans["start_ns"].min())  # type: ignore[arg-type]
    shift = start - START_NS + 10**8
    moved = [
        type(one)(one.name, one.unit, one.kind, one.time_ns + shift, one.value, one.attributes)
        for one in [*BUSY, MEMORY, *FAULTS, counter("<script>", [1.0, 2.0], unit="<b>", kind="gauge")]
    ]
    window = measured_window(run.latencies)
    assert window is not None
    run.record["counters"] = summarize_counters(moved, window)
    page = render_run(run.record, run.latencies, run.predictions, run.spans, None, CounterTable.of(moved))
    assert ">Counters<" in page
    assert page.count('class="chart small"') == 4
    assert "<script>&lt;" not in page
    assert "&lt;script&gt;" in page
    assert 'class="region"' in page
