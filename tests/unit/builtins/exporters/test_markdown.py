import re
from pathlib import Path

from fakes.exported import FAILED, changed, exported, opened


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_one_run_whole(tmp_path: Path) -> None:
    lines = exported("markdown", opened(tmp_path)).splitlines()
    assert lines[:5] == [
        "## digits-cnn",
        "",
        "| result | value | note |",
        "| --- | --- | --- |",
        "| top1 | 98.8889 % | published 98.8889 %, difference 0.0000 pp |",
    ]
    assert "| latency p99 | insufficient (100 of 662) |  |" in lines
    assert "| framework | torch 2.15.0 |" in lines
    assert f"| weights | sha256 {'ab' * 32} |" in lines
    assert "| dataset | digits-test 1.0.0, 450 of 450 samples |" in lines


def test_several_runs_are_lines_of_one_table(tmp_path: Path) -> None:
    runs = [opened(tmp_path, "a", name="one"), opened(tmp_path, "b", name="two", **FAILED)]
    head, rule, *lines = exported("markdown", *runs).splitlines()
    assert cells(head)[:2] == ["run", "top1"]
    assert set(cells(rule)) == {"---"}
    assert [cells(line)[:2] for line in lines] == [["one", "98.8889 %"], ["two", ""]]
    assert {len(cells(line)) for line in (head, rule, *lines)} == {len(cells(head))}


def test_levels_have_tables_of_their_own(tmp_path: Path) -> None:
    runs = [opened(tmp_path, "a"), opened(tmp_path, "b", **changed("trace", level="layer"))]
    lines = exported("markdown", *runs).splitlines()
    assert [line for line in lines if line.startswith("##")] == ["## Traced at level model", "## Traced at level layer"]
    assert len([line for line in lines if line.startswith("| run |")]) == 2


def test_nothing_in_a_name_is_markup(tmp_path: Path) -> None:
    runs = [opened(tmp_path, "a", name="x|y\n**z** <b>#1"), opened(tmp_path, "b")]
    line = exported("markdown", *runs).splitlines()[2]
    assert cells(line)[0] == r"x\|y \*\*z\*\* \<b\>\#1"


def test_random_weights_are_called_so(tmp_path: Path) -> None:
    weights = {"origin": "random", "location": None, "sha256": None, "seed": 3}
    assert "| weights | random, seed 3 |" in exported("markdown", opened(tmp_path, **changed("model", weights=weights)))
