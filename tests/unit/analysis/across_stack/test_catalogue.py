"""Every analysis by its name."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from fakes.traced_runs import gpu_run, resnet50
from mlms.analysis.across_stack.catalogue import ANALYSES, COLUMNS, analyze, find_analysis
from mlms.errors import InputError, UnknownNameError
from mlms.hooks import Roof
from mlms.runs.run import Run

ROOF = Roof(1e11, ((1 << 10, 4e9), (1 << 20, 1e9)))
PAGE = (Path(__file__).parents[4] / "docs" / "analyses.md").read_text("utf-8")


def frame(name: str, run: Run) -> pl.DataFrame:
    return analyze(name, [run], run if ANALYSES[name].of_two else None, lambda _: ROOF)


@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_gives_rows_of_documented_plain_columns(name: str, tmp_path: Path) -> None:
    found = frame(name, gpu_run(tmp_path))
    assert found.height
    assert [column for column in found.columns if column not in COLUMNS] == []
    assert all(not kind.is_nested() for kind in found.schema.dtypes())
    (row,) = re.findall(rf"^\| `{name}` \|.*$", PAGE, re.MULTILINE)
    assert [column for column in found.columns if f"`{column}`" not in row] == []
    assert ANALYSES[name].paper in row


def test_every_column_is_documented() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|`]+) \|$", PAGE, re.MULTILINE))
    assert {column: rows.get(column) for column in COLUMNS} == dict(COLUMNS)


def test_all_fifteen_of_the_paper_are_there() -> None:
    assert {analysis.paper for analysis in ANALYSES.values()} - {""} == {f"A{number}" for number in range(1, 16)}


@pytest.mark.parametrize("name", [name for name, analysis in ANALYSES.items() if analysis.level == "layer"])
def test_analyses_of_layers_work_on_a_real_run_on_the_cpu(name: str, tmp_path: Path) -> None:
    assert frame(name, resnet50(tmp_path)).height


def test_what_an_analysis_cant_do_is_said(tmp_path: Path) -> None:
    run = resnet50(tmp_path)
    with pytest.raises(UnknownNameError) as unknown:
        find_analysis("layer-latncy")
    assert unknown.value.hint == "did you mean 'layer-latency'?"
    with pytest.raises(InputError, match="takes one run, not 2"):
        analyze("layer-latency", [run, run], None, lambda _: None)
    with pytest.raises(InputError, match="compares two runs"):
        analyze("layer-difference", [run], None, lambda _: None)
    with pytest.raises(InputError, match="compares no runs"):
        analyze("layer-latency", [run], run, lambda _: None)
    with pytest.raises(InputError, match="which isn't known") as unmeasured:
        analyze("layer-bounds", [run], None, lambda _: None)
    assert "mlms doctor --roofline" in str(unmeasured.value.hint)
