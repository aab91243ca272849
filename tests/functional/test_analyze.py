"""``mlms analyze``: one screen, every analysis, and what it says when it can't."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import mlms as package
from fakes.program import mlms
from fakes.records import record
from fakes.traced_runs import gpu_run, resnet50, small_table, traced_run
from mlms.analysis.across_stack.catalogue import ANALYSES, COLUMNS
from mlms.analysis.across_stack.roofs import keep_roof, known_roof, way_of
from mlms.hooks import Roof
from mlms.manifests.places import cache_folder
from mlms.reports.html import render_run
from mlms.runs.environment import describe_environment
from mlms.runs.run import Run

ROOF = Roof(195e9, ((1 << 18, 65e9), (1 << 20, 136e9), (1 << 22, 162e9), (1 << 24, 181e9), (1 << 28, 35.5e9)))
SCREEN = """\
resnet50  pytorch 2.15.0, cpu, float32, 2 threads
62.45 ms a prediction (batch 1, median of 9), 1.45× its bound of 42.96 ms

layer type           layers      time   share     bound     gap  limited by
───────────────────────────────────────────────────────────────────────────
Conv2d                   53  52.35 ms  83.8 %  41.92 ms   1.25×  compute
BatchNorm2d              53  3.047 ms   4.9 %  493.7 µs   6.17×  memory
MaxPool2d                 1  2.843 ms   4.6 %  22.18 µs    128×  memory
Bottleneck               16  2.148 ms   3.4 %         -       -  -
ReLU                     49  781.5 µs   1.3 %  424.7 µs   1.84×  memory
Linear                    1  528.2 µs   0.8 %  95.19 µs   5.55×  memory
Sequential                8  226.3 µs   0.4 %         -       -  -
AdaptiveAvgPool2d         1  123.3 µs   0.2 %  2.263 µs  54.49×  memory
(outside of layers)          312.9 µs   0.5 %         -       -  -
Layers that lose most against their bound:
layer                  type           time  share     bound    gap  limited by
──────────────────────────────────────────────────────────────────────────────
maxpool                MaxPool2d  2.843 ms  4.6 %  22.18 µs   128×  memory
layer4.0.conv2         Conv2d     2.159 ms  3.5 %  1.186 ms  1.82×  compute
layer4.1.conv2         Conv2d     1.855 ms  3.0 %  1.186 ms  1.56×  compute
layer4.0.downsample.0  Conv2d     1.718 ms  2.8 %  1.054 ms  1.63×  compute
Not shown: 178 layers.
Bound: 195 GFLOP/s and, from memory, 35.5 GB/s, as measured.
Layers: traced at level layer throughout; --leveled tells what that adds.
"""


@pytest.fixture
def runs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are; the terminal is 80 columns wide and the cache empty."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MLMS_CACHE", str(workplace / "cache"))
    return workplace / "runs"


def known(run: Run) -> None:
    """As if the run's machine had been measured."""
    way = way_of(run.record)
    assert way is not None
    keep_roof(run.record["environment"], way, ROOF, cache_folder())


def test_one_screen_answers_where_the_time_goes(runs: Path) -> None:
    known(resnet50(runs))
    ended = mlms("analyze", "@last")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.rstrip() for line in ended.out.splitlines()]
    assert lines == SCREEN.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("component", "here", "said"),
    [
        ("pytorch", False, "'mlms analyze RUN' measures them, once, on the machine of this run and with its pytorch"),
        ("elsewhere", True, "pytorch has no way to measure what a machine can do at most"),
    ],
)
def test_without_a_known_machine_it_says_how_to_measure_it_or_why_not(
    runs: Path, component: str, here: bool, said: str
) -> None:
    changes: dict[str, Any] = {"evaluation": {"name": "x", "framework": {"component": component}}}
    if here:
        changes["environment"] = describe_environment(["torch"])
        changes["framework"] = {**record()["framework"], "installed": changes["environment"]["packages"]["torch"]}
    resnet50(runs, **changes)
    ended = mlms("analyze", "@last")
    assert ended.code == 0
    assert "bound" not in ended.out.partition("No bounds")[0]
    assert said in " ".join(ended.out.split())


def test_json_and_csv_have_all_of_it(runs: Path) -> None:
    run = resnet50(runs)
    known(run)
    whole = mlms("analyze", "@last", "--json").data
    assert (whole["predictions"], whole["types"][0]["type"]) == (9, "Conv2d")
    assert whole["gap"] == pytest.approx(1.45, abs=0.01)
    layers = mlms("analyze", "@last", "layer-latency", "--json").data
    assert layers["columns"]["self_ns"] == COLUMNS["self_ns"]
    assert len(layers["rows"]) == 182
    rows = list(csv.DictReader(io.StringIO(mlms("analyze", "@last", "layer-latency", "--csv").out)))
    assert [float(row["self_ns"]) for row in rows] == [row["self_ns"] for row in layers["rows"]]
    assert package.analyze(run, "layer-latency")["self_ns"].to_list() == [row["self_ns"] for row in layers["rows"]]
    by_type = list(csv.DictReader(io.StringIO(mlms("analyze", "@last", "--csv").out)))
    assert by_type[0]["type"] == "Conv2d"


def test_rows_are_chosen(runs: Path) -> None:
    resnet50(runs)
    slowest = mlms("analyze", "@last", "layer-latency", "--sort", "self_ns", "--top", "2", "--json").data["rows"]
    assert [row["name"] for row in slowest] == ["maxpool", "layer4.0.conv2"]
    shown = mlms("analyze", "@last", "layer-latency").out
    assert "162 more rows; --top 0 shows all." in shown
    assert "more rows" not in mlms("analyze", "@last", "layer-latency", "--top", "0").out
    refused = mlms("analyze", "@last", "layer-latency", "--sort", "speed")
    assert refused.code == 2
    assert "has no column 'speed'" in refused.err


@pytest.mark.parametrize("name", [name for name, analysis in ANALYSES.items() if not analysis.of_two])
def test_every_analysis_fits_the_terminal(runs: Path, name: str) -> None:
    known(gpu_run(runs))
    ended = mlms("analyze", "@last", name)
    assert ended.code == 0, ended.err
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "…" not in ended.out


def test_the_list_names_them_all(runs: Path) -> None:
    listed = mlms("analyze", "--list").out
    assert all(f"\n{name} " in f"\n{listed}" for name in ANALYSES)
    assert [entry["name"] for entry in mlms("analyze", "--list", "--json").data] == list(ANALYSES)


def test_two_runs_are_compared_by_layer(runs: Path) -> None:
    traced_run(runs, small_table(), name="before")
    traced_run(runs, small_table(2.0), name="after")
    rows = mlms("analyze", "before", "layer-difference", "--against", "after", "--json").data["rows"]
    assert (rows[0]["name"], rows[0]["explained"]) == ("conv", pytest.approx(100))
    assert mlms("analyze", "before", "--against", "after", "--json").data["analysis"] == "difference-by-type"
    shown = mlms("compare", "--layers", "before", "after")
    assert shown.code == 0, shown.err
    assert "Conv2d" in shown.out
    assert "conv" in shown.out
    assert mlms("compare", "--layers", "before").code == 2


def test_several_runs_give_the_optimal_batch_size(runs: Path) -> None:
    traced_run(runs, small_table(), name="one")
    traced_run(runs, small_table(), name="two")
    (row,) = mlms("analyze", "one", "two", "--json").data["rows"]
    assert (row["runs"], row["batch_size"]) == (2, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["@last", "layer-latncy"], "there is no analysis 'layer-latncy'\n  hint: did you mean 'layer-latency'?"),
        (["nothing"], "no run 'nothing'"),
        (["@last", "kernels-by-name"], "traced at level 'layer'; this analysis needs 'library'"),
        (["@last", "layer-difference"], "--against"),
        ([], "name a run"),
        (["@last", "--json", "--csv"], "not both"),
    ],
)
def test_what_cant_be_analysed_is_told(runs: Path, words: list[str], message: str) -> None:
    resnet50(runs)
    ended = mlms("analyze", *words)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_names_of_layers_dont_steer_the_terminal(runs: Path) -> None:
    from fakes.span_tables import nested

    traced_run(runs, nested(3, 6))
    ended = mlms("analyze", "@last")
    assert ended.code == 0, ended.err
    assert "\x07" not in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_the_report_tells_the_same(runs: Path) -> None:
    run = resnet50(runs)
    known(run)
    page = render_run(run.record, None, None, None, package.where_time_goes(run).data)
    assert "Where the time goes" in page
    assert "1.45× its bound of 42.96 ms" in page
    assert page.index("Conv2d") < page.index("BatchNorm2d")
    assert "Where the time goes" not in render_run(run.record, None, None, None)


def test_this_machine_is_measured_once(runs: Path) -> None:
    """The first analysis measures, as it is the run's machine; the next ones don't."""
    environment = describe_environment(["torch"])
    framework = {**record()["framework"], "installed": environment["packages"]["torch"]}
    evaluation = {"name": "x", "framework": {"component": "pytorch"}}
    run = resnet50(runs, environment=environment, framework=framework, evaluation=evaluation)
    way = way_of(run.record)
    assert way is not None
    assert "No bounds" in mlms("analyze", "@last", "--no-measure").out
    assert known_roof(environment, way, cache_folder()) is None
    first = mlms("analyze", "@last", "--json").data
    roof = known_roof(environment, way, cache_folder())
    assert roof is not None
    assert first["roof"]["flops_per_s"] == roof.flops_per_s > 1e9
    assert mlms("analyze", "@last", "--json").data["roof"] == json.loads(json.dumps(first["roof"]))


def test_layers_of_a_real_evaluation(runs: Path) -> None:
    ended = mlms(
        *("run", "image_classification", "--model", "digits-cnn", "--dataset", "digits-test", "--device", "cpu"),
        *("--trace-level", "layer", "--min-queries", "16", "--min-duration", "10ms"),
    )
    assert ended.code == 0, ended.err
    found = mlms("analyze", "@last", "--no-measure", "--json").data
    assert found["predictions"] >= 16
    assert "Conv2d" in [row["type"] for row in found["types"]]
