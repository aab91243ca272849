"""``mlms compare`` and ``mlms.compare`` on stored runs."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import mlms
from fakes.records import record, write_measured_run, write_run
from fakes.series import bimodal, fixed
from mlms.cli import cli
from mlms.errors import InputError, MlmsError

RIGHT = np.arange(450) % 20 > 0


def started(minute: int) -> str:
    return f"2026-11-23T21:{minute:02}:00.000000Z"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four runs: a baseline, the same again, a slower and less accurate one, and one of two modes."""
    wrong = RIGHT.copy()
    wrong[1:16] = False
    random = np.random.default_rng(9)
    made = {
        "base": (fixed(np.random.default_rng(1), spread=0.05), RIGHT),
        "again": (fixed(np.random.default_rng(2), spread=0.05), RIGHT),
        "slow": (fixed(np.random.default_rng(3), spread=0.05, median=9e6), wrong),
        "two": (bimodal(random, fixed(random, spread=0.05)), RIGHT),
    }
    for minute, (name, (series, correct)) in enumerate(made.items()):
        write_measured_run(tmp_path, name, series, correct, started_at=started(minute))
    return tmp_path


def run(root: Path, *arguments: str) -> Result:
    found = CliRunner().invoke(cli, ["compare", "--runs", str(root), *arguments])
    if isinstance(found.exception, MlmsError):
        found.exit_code = found.exception.exit_code
    return found


def test_the_table(root: Path) -> None:
    found = run(root, "base", "slow")
    assert found.exit_code == 0
    lines = found.stdout.splitlines()
    assert "slow against base" in found.stdout
    p90 = next(line for line in lines if line.startswith("latency.p90"))
    assert "worse" in p90
    assert "1.130x" in p90
    assert "McNemar" in found.stdout
    assert "one run each" in found.stdout
    assert max(map(len, lines)) <= 80


def test_the_same_again_is_not_distinguishable(root: Path) -> None:
    data = json.loads(run(root, "base", "again", "--format", "json").stdout)
    (contrast,) = data["contrasts"]
    assert {effect["verdict"] for effect in contrast["effects"]} == {"not distinguishable"}
    assert data["notes"] == []


@pytest.mark.parametrize(
    ("references", "labels"),
    [
        (("@last~3", "@last~1"), ["base", "slow"]),
        (("20261123-211500-base-1a2b3c4d", "slow"), ["base", "slow"]),
        (("20261123-211500-b", "20261123-211500-s"), ["base", "slow"]),
        (("base", "again", "@last"), ["base", "again", "two"]),
    ],
)
def test_runs_are_named_in_every_way(root: Path, references: tuple[str, ...], labels: list[str]) -> None:
    data = json.loads(run(root, *references, "--format", "json").stdout)
    assert [subject["label"] for subject in data["subjects"]] == labels


def test_runs_are_named_by_path(root: Path) -> None:
    paths = [str(root / f"20261123-211500-{name}-1a2b3c4d") for name in ("base", "slow")]
    found = CliRunner().invoke(cli, ["compare", *paths, "--format", "json"])
    assert len(json.loads(found.stdout)["contrasts"]) == 1


@pytest.mark.parametrize(
    ("threshold", "code"),
    [
        ("latency.p90 > 1.05x", 1),
        ("latency.p90 1.2x", 0),
        ("top1 -0.5", 1),
        ("top1 < -5.0", 0),
        ("throughput 0.95x", 1),
        ("top5 -0.1", 0),
    ],
)
def test_thresholds_decide_the_exit_code(root: Path, threshold: str, code: int) -> None:
    found = run(root, "base", "slow", "--fail-if", threshold)
    assert found.exit_code == code
    assert (threshold in found.stderr) == bool(code)


def test_any_hit_of_several_fails(root: Path) -> None:
    found = run(root, "base", "again", "slow", "--fail-if", "top1 -50.0", "--fail-if", "latency.p50 1.05x")
    assert found.exit_code == 1
    (line,) = found.stderr.splitlines()
    assert line.startswith("slow: latency.p50 is 1.13")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("base", "slow", "--fail-if", "latency.p90"), "is no threshold"),
        (("base", "slow", "--fail-if", "latency.p90 > 1.05"), "neither a ratio nor a difference"),
        (("base", "slow", "--fail-if", "top7 -1"), "no metric 'top7' here"),
        (("base",), "at least two runs"),
        (("base", "nothing"), "no run 'nothing'"),
        (("base", "@last~4"), "goes back too far: 4 runs"),
        (("base", "@lasting"), "is no run"),
    ],
)
def test_bad_input(root: Path, arguments: tuple[str, ...], message: str) -> None:
    found = run(root, *arguments)
    assert found.exit_code == 2
    assert message in str(found.exception)


def test_other_datasets_are_refused_and_forced(root: Path) -> None:
    other = {**record()["dataset"], "name": "imagenet"}
    write_measured_run(root, "other", fixed(np.random.default_rng(4)), RIGHT, dataset=other)
    refused = run(root, "base", "other")
    assert refused.exit_code == 2
    assert "different datasets: base has digits-test 1.0.0, other has imagenet 1.0.0" in str(refused.exception)
    forced = run(root, "base", "other", "--force")
    assert forced.exit_code == 0
    assert forced.stdout.startswith("note: different datasets")


def test_another_machine_is_said_first(root: Path) -> None:
    environment = {**record()["environment"], "fingerprint": "00" * 32, "cpu": {"model": "Another CPU"}}
    write_measured_run(root, "other", fixed(np.random.default_rng(4)), RIGHT, environment=environment)
    found = run(root, "base", "other")
    first = "note: different machine or software: other was not made in the environment of base"
    assert " ".join(found.stdout.split()).startswith(first)
    assert "environment.cpu.model" in found.stdout
    assert "Another CPU" in found.stdout


def test_other_trace_levels_share_no_table(root: Path) -> None:
    trace = {**record()["trace"], "level": "operator"}
    write_measured_run(root, "deep", fixed(np.random.default_rng(4)), RIGHT, trace=trace)
    found = run(root, "base", "deep", "--fail-if", "latency.p90 1.05x")
    assert "latency.p90  " not in found.stdout
    assert "traced at level operator, the baseline at model" in " ".join(found.stdout.split())
    assert found.exit_code == 1  # what can't be judged doesn't pass


def test_half_a_run_and_another_schema_version(root: Path) -> None:
    half = write_measured_run(root, "half", fixed(np.random.default_rng(4)), RIGHT)
    (half / "latencies.parquet").write_bytes(b"PAR1")
    assert "latencies.parquet: this Parquet file is cut off" in str(run(root, "base", str(half)).exception)
    (half / "predictions.parquet").unlink()
    (half / "run.json").write_text(json.dumps({**record(), "schema_version": 99}))
    found = run(root, "base", str(half))
    assert found.exit_code == 2
    assert "schema_version 99; this mlms reads 1" in str(found.exception)
    (half / "run.json").unlink()
    assert "holds no run.json" in str(run(root, "base", str(half)).exception)


def test_markdown(root: Path) -> None:
    text = run(root, "base", "slow", "two", "--format", "markdown").stdout
    assert text.startswith("## Comparison with base\n")
    assert "| metric | baseline | this run | change | verdict |" in text
    assert "> **Note:** two: latency is bimodal" in text
    rows = [line for line in text.splitlines() if line.startswith("| latency.p50")]
    assert len(rows) == 2
    assert all(row.count("|") == 6 for row in rows)


def test_csv(root: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(root, "base", "slow", "--format", "csv").stdout)))
    assert [row["metric"] for row in rows][:3] == ["top1", "top5", "latency.p50"]
    p50 = rows[2]
    assert float(p50["low"]) < float(p50["effect"]) < float(p50["high"])
    assert (p50["baseline_run"], p50["run"], p50["unit"], p50["verdict"]) == ("base", "slow", "ns", "worse")
    assert float(p50["value"]) / float(p50["baseline"]) == pytest.approx(float(p50["effect"]))


def test_junit(root: Path) -> None:
    limits = ("--fail-if", "latency.p90 > 1.05x", "--fail-if", "top1 < -50.0")
    found = run(root, "base", "again", "slow", "--format", "junit", *limits)
    assert found.exit_code == 1
    suite = ElementTree.fromstring(found.stdout).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    failed = [case for case in suite.findall("testcase") if case.find("failure") is not None]
    assert [(case.get("classname"), case.get("name")) for case in failed] == [("slow", "latency.p90 > 1.05x")]
    bare = run(root, "base", "slow", "--format", "junit")
    assert bare.exit_code == 0
    assert len(ElementTree.fromstring(bare.stdout).findall(".//testcase")) == 7


class Tags(HTMLParser):
    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_needs_nothing_else(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "compared.html"
    found = run(root, "base", "slow", "two", "--format", "html", "--output", str(file))
    assert found.stdout == f"{file}\n"
    document = file.read_text("utf-8")
    tags = Tags(document)
    assert tags.open == []
    assert not [tag for tag, _ in tags.found if tag in ("script", "link", "img", "iframe")]
    assert not [attributes for _, attributes in tags.found if {"src", "href"} & attributes.keys()]
    curves = [a for tag, a in tags.found if tag == "path" and (a.get("class") or "").startswith("curve")]
    assert [a["class"] for a in curves] == ["curve run0", "curve run1", "curve run2"]
    dots = [a for tag, a in tags.found if tag == "path" and (a.get("class") or "").startswith("dot")]
    assert len(dots) == 3
    assert document.count('class="verdict worse"') >= 5


def test_html_draws_no_other_trace_level(root: Path) -> None:
    trace = {**record()["trace"], "level": "operator"}
    write_measured_run(root, "deep", fixed(np.random.default_rng(4)), RIGHT, trace=trace)
    document = run(root, "base", "deep", "again", "--format", "html").stdout
    assert 'class="curve run2"' in document
    assert 'class="curve run1"' not in document
    assert 'class="dot run1"' not in document


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    for number, name in enumerate(("<script>alert(1)</script>|x", "=cmd()\x1b[31m")):
        path = write_measured_run(tmp_path, f"n{number}", fixed(np.random.default_rng(number)), RIGHT)
        changed = {**json.loads((path / "run.json").read_text()), "name": name}
        (path / "run.json").write_text(json.dumps(changed))
    paths = sorted(str(path) for path in tmp_path.iterdir())
    for format_ in ("table", "markdown", "csv", "html", "junit"):
        text = CliRunner().invoke(cli, ["compare", *paths, "--format", format_]).stdout
        assert "\x1b" not in text or format_ == "csv"
        if format_ in ("markdown", "html", "junit"):
            assert "<script>alert" not in text
        if format_ == "csv":
            assert "'=cmd()" in text


def test_an_unwritable_output(root: Path, tmp_path: Path) -> None:
    found = run(root, "base", "slow", "--output", str(tmp_path / "missing" / "x.txt"))
    assert found.exit_code == 2
    assert "missing" in str(found.exception)


def test_a_table_goes_to_a_file_too(root: Path, tmp_path: Path) -> None:
    run(root, "base", "slow", "--output", str(tmp_path / "x.txt"))
    assert "slow against base" in (tmp_path / "x.txt").read_text("utf-8")


def test_the_margin_is_the_users(root: Path) -> None:
    data = json.loads(run(root, "base", "slow", "--margin", "0.2", "--format", "json").stdout)
    verdicts = {effect["metric"]: effect["verdict"] for effect in data["contrasts"][0]["effects"]}
    assert verdicts["latency.p50"] == "not distinguishable"
    assert data["margin"] == 0.2


def repeated(root: Path, name: str, median: float, minute: int, digest: str) -> None:
    for index in (1, 2, 3):
        repeat = {"index": index, "of": 3, "group": digest}
        series = fixed(np.random.default_rng([minute, index]), 300, 0.03, 0.2, median * (1 + 0.002 * index))
        changes: dict[str, Any] = {"repeat": repeat, "digest": digest, "started_at": started(minute + index)}
        write_measured_run(root, f"{name}{index}", series, RIGHT, **changes)


def test_a_repeat_stands_for_all_of_its_set(tmp_path: Path) -> None:
    repeated(tmp_path, "old", 8e6, 0, "aa" * 32)
    repeated(tmp_path, "new", 9e6, 10, "aa" * 32)  # the same evaluation, repeated again later
    data = json.loads(run(tmp_path, "old2", "new1", "--format", "json").stdout)
    assert [subject["repeats"] for subject in data["subjects"]] == [3, 3]
    effect = next(effect for effect in data["contrasts"][0]["effects"] if effect["metric"] == "latency.p50")
    assert effect["interval"]["method"] == "Welch's t over 3 and 3 repeats"
    assert effect["verdict"] == "worse"
    assert "(3 repeats)" in run(tmp_path, "old2", "new1").stdout
    same = json.loads(run(tmp_path, "old1", "old2", "--format", "json").stdout)
    assert [subject["repeats"] for subject in same["subjects"]] == [1, 1]


def test_the_api(root: Path, tmp_path: Path) -> None:
    base = mlms.open_run("base", output=root)
    found = mlms.compare([base, root / "20261123-211500-slow-1a2b3c4d"])
    assert [subject.label for subject in found.subjects] == ["base", "slow"]
    effect = found.contrasts[0].effect("latency.p50")
    assert effect is not None
    assert effect.verdict == "worse"
    assert json.loads(json.dumps(found.data)) == json.loads(json.dumps(found.data))
    assert found.data["subjects"][0]["figures"]["top1"] == 100 * RIGHT.mean()
    with pytest.raises(AttributeError):
        found.result = None  # type: ignore[misc, assignment]
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    console.print(found)
    assert "slow against base" in console.export_text()
    assert "<table" in found._repr_html_()
    assert "<html" not in found._repr_html_()
    assert found.html.startswith("<!DOCTYPE html>")
    with pytest.raises(InputError, match="at least two runs"):
        mlms.compare([base])


def test_runs_of_two_queries_compare_without_percentiles(tmp_path: Path) -> None:
    paths = [str(write_run(tmp_path, f"r{number}")) for number in (1, 2)]
    found = CliRunner().invoke(cli, ["compare", *paths, "--format", "json"])
    assert found.exit_code == 0, found.output
    verdicts = {effect["metric"]: effect["verdict"] for effect in json.loads(found.stdout)["contrasts"][0]["effects"]}
    assert verdicts["latency.p50"] == "unknown"
