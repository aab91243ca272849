"""``mlms export``: every format from the command, wrong input, plugins' formats, and runs of another kind."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from fakes.distributions import importable, install
from fakes.exported import opened, write_loadgen_logs
from fakes.manifests import QUICK, manifest
from fakes.program import Ended, mlms
from fakes.records import write_run
from mlms import api
from mlms.runs.run import Run

A_PLUGIN = """
from mlms.hooks import Component, hookimpl

class Exporter:
    def __init__(self, options):
        self.options = options
        self.writes = options.get("writes", "elsewhere")

    def export(self, runs, target):
        if target is not None:
            (target / "half").touch()
        if self.options.get("broken"):
            raise RuntimeError("the far side is down")
        return f"sent {len(runs)}"

OPTIONS = {
    "type": "object",
    "properties": {"writes": {"type": "string"}, "broken": {"type": "boolean"}},
    "additionalProperties": False,
}

@hookimpl
def mlms_exporters():
    return [Component("sender", lambda options, context: Exporter(options), "Sends runs away.", OPTIONS)]
"""


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[None]:
    """A plugin with an exporter is installed."""
    install(tmp_path / "site", "sender", "1.0.0", A_PLUGIN)
    with importable(tmp_path / "site"):
        yield


@pytest.fixture
def run(workplace: Path) -> Run:
    """A run in ./runs, with LoadGen's logs."""
    found = opened(workplace / "runs")
    write_loadgen_logs(found)
    return found


def refused(ended: Ended, *told: str) -> None:
    """Bad input is one message with exit code 2, and nothing on standard output."""
    assert ended.code == 2
    assert ended.out == ""
    assert "Traceback" not in ended.err
    for text in told:
        assert text in ended.err


def test_text_formats_go_to_standard_output(run: Run) -> None:
    assert mlms("export", "@last", "--format", "json").data == run.record
    assert next(csv.DictReader(io.StringIO(mlms("export", run.id, "-f", "csv").out)))["top1"] == "98.8889"
    assert mlms("export", "digits-cnn", "-f", "markdown").out.startswith("## digits-cnn\n")
    assert ElementTree.fromstring(mlms("export", str(run.path), "-f", "junit").out).tag == "testsuites"
    assert "model-index" in yaml.safe_load(mlms("export", "@last", "-f", "model-index").out)
    ended = mlms("export", "@last", "-f", "huggingface", "--set", "dataset=org/digits", "--set", "task_id=test")
    assert yaml.safe_load(ended.out)[0]["dataset"] == {"id": "org/digits", "task_id": "test"}


def test_a_file_is_written_and_overwritten(run: Run) -> None:
    for _ in range(2):
        ended = mlms("export", "@last", "-f", "json", "-o", "new/folder/out.json")
        assert (ended.code, ended.out, ended.err) == (0, "new/folder/out.json\n", "")
        text = Path("new/folder/out.json").read_text("utf-8")
        assert json.loads(text) == run.record
        assert text.endswith("}\n")


def test_a_folder_is_written_once(run: Run) -> None:
    ended = mlms("export", "@last", "-f", "mlperf", "-o", "submission", "--set", "facts.cooling=air")
    assert (ended.code, ended.out) == (0, "submission: runs: 1, systems: 1\n")
    (system,) = Path("submission/open/unknown/systems").iterdir()
    assert json.loads(system.read_text("utf-8"))["cooling"] == "air"
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []
    refused(mlms("export", "@last", "-f", "mlperf", "-o", "submission"), "submission: there is something here already")
    Path("empty").mkdir()
    assert mlms("export", "@last", "-f", "mlperf", "-o", "empty").code == 0


def test_runs_are_looked_up_where_one_says(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.path.parent.rename("elsewhere")
    refused(mlms("export", "@last", "-f", "json"), "there are no runs")
    assert mlms("export", "@last", "-f", "json", "--runs", "elsewhere").code == 0
    monkeypatch.setenv("MLMS_RUNS", "elsewhere")
    assert mlms("export", "@last", "-f", "json").code == 0


def test_several_runs(run: Run, workplace: Path) -> None:
    other = opened(workplace / "runs", "other", name="other")
    ended = mlms("export", run.id, "other", "-f", "json")
    assert [record["id"] for record in ended.data] == [run.id, other.id]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "@last"], ["Missing option '--format'"]),
        (["export", "--format", "json"], ["Missing argument 'RUN...'"]),
        (["export", "@last", "-f", "markdwn"], ["no exporter is named 'markdwn'", "did you mean markdown?"]),
        (["export", "nothing", "-f", "json"], ["no run 'nothing'"]),
        (["export", "@last", "-f", "json", "--set", "x=1"], ["--format json", "'x'"]),
        (["export", "@last", "-f", "json", "--set", "x"], ["'--set x' is not KEY=VALUE"]),
        (["export", "@last", "-f", "csv", "--set", "table=latency"], ["--format csv", "'table'", "latencies"]),
        (["export", "@last", "-f", "mlperf"], ["writes a folder", "--output DIR"]),
        (["export", "@last", "-f", "mlperf", "-o", "x", "--set", "facts.coolin=air"], ["coolin", "cooling"]),
        (["export", "@last", "-f", "json", "-o", "runs"], ["runs: this is a folder"]),
        (["export", "@last", "-f", "json", "-o", "file/below"], ["can't write here"]),
        (["export", "@last", "-f", "huggingface"], ["none is known for dataset 'digits-test'", "--set dataset="]),
    ],
)
def test_bad_input(arguments: list[str], told: list[str], run: Run) -> None:
    Path("file").touch()
    refused(mlms(*arguments), *told)


def test_a_plugins_format(sender: None, run: Run) -> None:
    assert mlms("export", "@last", "-f", "sender").out == "sent 1\n"
    refused(mlms("export", "@last", "-f", "sender", "-o", "x"), "--format sender writes no file")
    failed = mlms("export", "@last", "-f", "sender", "--set", "broken=true")
    refused(failed, "exporter 'sender': RuntimeError: the far side is down")
    assert "sender" in mlms("list", "exporters").out
    assert "Sends runs away." in mlms("show", "exporter", "sender").out
    rows = {row["name"]: row for row in mlms("plugins", "--json").data}
    assert rows["sender"]["exporters"] == ["sender"]
    assert set(rows["builtins"]["exporters"]) == {
        "csv", "huggingface", "json", "junit", "markdown", "mlperf", "model-index",
    }  # fmt: skip


def test_a_folder_that_fails_halfway_is_not_there(sender: None, run: Run) -> None:
    before = set(Path().iterdir())
    refused(mlms("export", "@last", "-f", "sender", "-o", "x", "--set", "broken=true", "--set", "writes=folder"))
    assert set(Path().iterdir()) == before
    assert mlms("export", "@last", "-f", "sender", "-o", "x", "--set", "writes=folder").out == "x: sent 1\n"
    assert Path("x/half").is_file()


def test_from_python(run: Run) -> None:
    assert api.export([run], "markdown") == api.export(["@last"], "markdown")
    assert api.export(["@last"], "csv", options=["table=latencies"], target="out.csv") == "out.csv"


def test_half_a_run_is_reported_and_exports_what_it_has(run: Run) -> None:
    (run.path / "latencies.parquet").unlink()
    for command in (["runs", "list"], ["runs", "show", "@last"]):
        ended = mlms(*command)
        assert ended.code == 0
        assert f"half a run: {Path('runs') / run.id} is without latencies.parquet" in ended.err.replace("\n", " ")
    assert mlms("export", "@last", "-f", "csv").code == 0
    refused(mlms("export", "@last", "-f", "csv", "--set", "table=latencies"), "latencies.parquet: this file is missing")


def test_a_run_of_another_format_is_refused_with_the_way_out(run: Run) -> None:
    path = run.path / "run.json"
    path.write_text(json.dumps({**run.record, "schema_version": 0, "mlms_version": "0.0.1"}), "utf-8")
    refused(mlms("export", run.id, "-f", "json"), "schema_version 0", "repeat the run, or open it with mlms 0.0.1")
    listed = mlms("runs", "list")
    assert listed.code == 0
    assert "left out" in listed.err


def test_a_directory_without_a_record_is_reported(run: Run) -> None:
    (run.path / "run.json").unlink()
    refused(mlms("export", run.id, "-f", "json"), "this is no run: it holds no run.json")
    assert "left out" in mlms("runs", "list").err


@pytest.mark.slow
def test_a_real_run_in_every_format(workplace: Path) -> None:
    scenario = {**QUICK, "min_queries": 64}
    ended = mlms("eval", manifest(scenario=scenario, trace={"level": "model"}), "--quiet", "--json")
    assert ended.code == 0, ended.err
    (record,) = ended.data
    assert mlms("export", "@last", "-f", "json").data == Run(record["path"]).record
    for name, options in {
        "csv": [], "markdown": [], "junit": [], "model-index": [], "huggingface": ["--set", "dataset=org/digits"],
    }.items():  # fmt: skip
        done = mlms("export", "@last", "-f", name, *options)
        assert (done.code, done.err) == (0, ""), name
        assert "digits" in done.out
    for table in ("latencies", "predictions"):
        lines = mlms("export", "@last", "-f", "csv", "--set", f"table={table}").out.splitlines()
        assert len(lines) - 1 == {"latencies": Run(record["path"]).latencies.height, "predictions": 450}[table]
    assert mlms("export", "@last", "-f", "mlperf", "-o", "mlperf", "--set", "submitter=ACME").code == 0
    (summary,) = Path("mlperf").rglob("mlperf_log_summary.txt")
    assert "Scenario : SingleStream" in summary.read_text("utf-8")
    assert summary.parent.relative_to("mlperf").parts[-4:] == ("digits-cnn", "SingleStream", "performance", "run_1")
    (readme,) = Path("mlperf").rglob("README.md")
    Path("again.yaml").write_text(readme.read_text("utf-8").split("```yaml\n")[1].split("```")[0], "utf-8")
    (evaluation,) = api.plan("again.yaml").evaluations
    assert evaluation.digest == record["digest"], "the manifest in the README plans the same evaluation"


def test_the_help_has_an_example_that_names_a_format() -> None:
    ended = mlms("export", "--help")
    assert "Example: mlms export @last --format markdown" in ended.out


def test_a_run_in_a_folder_of_many(workplace: Path) -> None:
    for number in range(3):
        write_run(workplace / "runs", f"2026112{number}-000000-x-00000000")
    assert mlms("export", "20261121", "-f", "json").data["id"].startswith("20261121")
    refused(mlms("export", "2026", "-f", "json"), "fits 3 runs")
