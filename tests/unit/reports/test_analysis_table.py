"""Where the time goes, on terminals of several widths."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from mlms.reports.analysis_table import overview_table

TIMES = {"count": 1, "time_ns": 1e6, "share": 0.1}


def shown(width: int, names: list[str]) -> str:
    layers = [{"name": name, "type": "Activation", **TIMES} for name in names]
    facts: dict[str, Any] = {"run": "r", "way": "", "latency_ns": 1e6, "predictions": 9, "batch_size": 1, "gap": None}
    facts |= {"bound_ns": None, "roof": None, "no_roof": "none", "device_time": "host", "measured": None, "other": {}}
    out = io.StringIO()
    Console(file=out, width=width).print(overview_table({**facts, "types": [], "layers": layers}))
    return out.getvalue()


@pytest.mark.parametrize("width", [52, 60, 90])
def test_long_names_that_end_alike_stay_distinct(width: int) -> None:
    names = [f"/model/layer{number}/block/activation/Relu_output_0_nchwc" for number in range(1, 4)]
    lines = shown(width, names).splitlines()
    cells = {line.split("Activation")[0] for line in lines if "Activation" in line}
    assert len(cells) == 3
    assert (names[0] in shown(width, names)) == (width == 90)


def test_of_long_names_that_end_differently_the_end_is_shown() -> None:
    assert "…" in shown(52, [f"a very long name of a layer in a model, number {number}" for number in range(3)])
    assert "number 2" in shown(52, [f"a very long name of a layer in a model, number {number}" for number in range(3)])
