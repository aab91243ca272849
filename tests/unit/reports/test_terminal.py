from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, ConsoleRenderable

from fakes.stored_run import stored_run
from mlms.reports.terminal import failures_table, results_table, run_panel

EXPECTED = Path(__file__).parent / "expected"


def printed(renderable: ConsoleRenderable, width: int, *, colour: bool = False) -> str:
    """What a terminal of ``width`` columns shows, without the blanks at the ends of lines."""
    out = io.StringIO()
    system = "truecolor" if colour else None
    Console(file=out, width=width, force_terminal=colour, color_system=system, legacy_windows=False).print(renderable)  # type: ignore[arg-type]
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def records() -> list[dict[str, Any]]:
    """A run that went well, one on random weights that LoadGen calls invalid, and one below the published figure."""
    good, invalid, lower = stored_run().record, stored_run(60).record, stored_run(2000, seed=1).record
    invalid.update(name="alexnet", metrics=[], warnings=["no steady state was reached"])
    invalid["accuracy"] = {"reported": False, "reason": "the weights are random"}
    invalid["scenario"].update(valid=False, problems=["60 queries of at least 1,024", "0.1 s of at least 2 s"])
    lower["name"] = "digits-cnn batch_size=8"
    lower["metrics"][0]["published"].update(value=98.8889, difference=lower["metrics"][0]["value"] - 98.8889)
    return [good, invalid, lower]


@pytest.mark.parametrize("width", [130, 80])
def test_results(width: int) -> None:
    assert printed(results_table(records()), width) == (EXPECTED / f"results-{width}.txt").read_text("utf-8")


def test_many_runs_are_a_table_on_a_narrow_terminal_too() -> None:
    lines = printed(results_table(records() + records()[:1]), 80).splitlines()
    assert lines[0].split() == ["evaluation", "top1", "p50", "p90", "samples/s", "LoadGen"]
    narrower = printed(results_table(records() + records()[:1]), 68).splitlines()
    assert narrower[0].split() == ["evaluation", "top1", "p50", "samples/s", "LoadGen"]
    assert len(lines) == 6
    assert "not reported" in lines[3]
    assert printed(results_table(records()), 80).splitlines()[0].split() != lines[0].split()


@pytest.mark.parametrize("number", [0, 1])
def test_one_run_in_detail(number: int) -> None:
    assert printed(run_panel(records()[number]), 80) == (EXPECTED / f"panel-{number}.txt").read_text("utf-8")


def test_an_unsteady_series_is_flagged() -> None:
    record = records()[0]
    record["latency"]["steadiness"].update(label="drifting", reasons=["latency gets 24% slower"])
    assert "series      drifting: latency gets 24% slower" in printed(run_panel(record), 80)
    assert "valid, drifting" in printed(results_table([record]), 130)


def test_a_figure_that_is_not_reproduced() -> None:
    record = records()[0]
    record["metrics"][0]["published"].update(value=99.0, difference=-3.9, reproduced=False)
    (line,) = (line for line in printed(run_panel(record), 80).splitlines() if "top1" in line)
    assert line.split()[-2] == "no"


@pytest.mark.parametrize("width", [80, 130])
def test_runs_of_different_levels_share_no_table(width: int) -> None:
    deep, flat, again = stored_run(layers=True).record, stored_run().record, stored_run(seed=1).record
    text = printed(results_table([flat, deep, again]), width)
    first, second = text.split("traced at level layer\n")
    assert first.startswith("traced at level model\n")
    assert (first.count("digits-cnn"), second.count("digits-cnn")) == (2, 1)
    assert first.count("LoadGen") == second.count("LoadGen") * (1 if width == 130 else 2)
    assert "traced at level" not in printed(results_table([flat, again]), width)


def test_failures() -> None:
    failures = [
        ("alexnet", "models.yaml:3:1: no model 'alexnt'\n  hint: did you mean 'alexnet'?"),
        ("a-name-that-goes-on-" * 5, "out of memory"),
    ]
    assert printed(failures_table(failures), 80) == (EXPECTED / "failures.txt").read_text("utf-8")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for renderable in (results_table(records()), *map(run_panel, records()), failures_table([("n" * 500, "m" * 500)])):
        assert all(len(line) <= width for line in printed(renderable, width).splitlines())


@pytest.mark.parametrize("width", [60, 200])
def test_names_are_text_and_neither_markup_nor_control(width: int) -> None:
    record = records()[0]
    record["name"] = record["model"]["name"] = "[red]a\x1b[2J\x07b[/red]"
    record["warnings"] = ["[link=x]\x1b]0;title\x07"]
    record["scenario"]["problems"] = ["\x9b31m"]
    for renderable in (results_table([record]), run_panel(record), failures_table([(record["name"], "\x1b[2J")])):
        text = printed(renderable, width)
        assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in text.replace("\n", ""))
    assert "[red]a\\x1b[2J\\x07b[/red]" in printed(results_table([record]), width)


def test_colours_only_where_the_terminal_has_them() -> None:
    table = results_table(records())
    assert "\x1b[" in printed(table, 130, colour=True)
    assert "\x1b[" not in printed(table, 130)


def test_a_long_name_is_cut() -> None:
    record = records()[0]
    record["name"] = "n" * 10_000
    assert "n" * 59 + "…" in printed(results_table([record]), 200)
    assert "n" * 61 not in printed(run_panel(record), 200)


@pytest.mark.parametrize("width", [80, 200])
def test_what_a_record_may_lack(width: int) -> None:
    record = records()[0]
    record.update(latency=None, throughput=None, metrics=[])
    text = printed(results_table([record]), width) + printed(run_panel(record), width)
    assert "not reported" in text
    assert "no accuracy: no metric was computed" in text


def test_no_runs() -> None:
    assert "evaluation" in printed(results_table([]), 130)
