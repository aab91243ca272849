"""The README's first evaluation, from the command to everything that it leaves behind."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import mlms as package
from fakes.manifests import QUICK, manifest
from fakes.program import CHECKOUT, Ended, mlms, mlms_process
from mlms.runs import record as run_record
from mlms.runs.run import Run

MANIFEST = CHECKOUT / "manifests" / "digits.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Run]:
    """What one call of the program printed, and its run."""
    root = tmp_path_factory.mktemp("runs")
    ended = mlms_process("eval", MANIFEST, "--output", root)
    assert ended.code == 0, ended.err
    (path,) = root.iterdir()
    return ended, Run(path)


@pytest.mark.slow
def test_the_accuracy_is_the_published_one_to_the_last_digit(finished: tuple[Ended, Run]) -> None:
    ended, run = finished
    figures = {entry["name"]: entry for entry in run.record["metrics"]}
    assert set(figures) == {"top1", "top5"}
    for figure in figures.values():
        assert figure["published"]["dataset"] == "digits-test"
        assert round(figure["value"], 4) == figure["published"]["value"]
        assert figure["samples"] == 450
    assert ended.out.count(f"{figures['top1']['published']['value']:.4f}") >= 2 or ended.out.count("99.11") >= 2
    latency, harness = run.record["latency"], run.record["harness"]
    p50 = next(entry["value"] for entry in latency["percentiles"] if entry["percentile"] == 50)
    assert harness["share_of_median"] == pytest.approx(harness["null_query_ns"] / p50)
    assert latency["cv"] == pytest.approx(latency["stdev"] / latency["mean"])


@pytest.mark.slow
def test_the_terminal_shows_latencies_and_where_the_run_lies(finished: tuple[Ended, Run]) -> None:
    ended, run = finished
    for shown in ("p50", "p90", "p99", "throughput", "valid", str(run.path), str(run.path / "report.html")):
        assert shown in ended.out
    assert "\x1b" not in ended.out + ended.err, "there are no colours in a pipe"
    assert ended.err == ""


@pytest.mark.slow
def test_the_record_is_schema_valid_and_says_how_it_was_made(finished: tuple[Ended, Run]) -> None:
    _, run = finished
    run_record.check(run.record, run.path / "run.json")
    record = run.record
    assert record["manifest"]["path"] == str(MANIFEST)
    assert set(record["manifest"]["git"] or {"commit": None}) >= {"commit"}
    assert record["framework"]["describe"]["threads"] == 1, "as the manifest asks, not as the process began"
    assert record["environment"]["packages"].keys() >= {"mlms", "torch", "numpy", "mlcommons-loadgen"}
    assert {step["name"] for step in record["steps"]} >= {"provision", "load", "warm_up", "measure", "score", "record"}
    assert record["scenario"]["valid"]
    assert record["files"].keys() == {"latencies", "predictions", "spans", "log", "report"}
    assert all((run.path / name).is_file() for name in record["files"].values())


@pytest.mark.slow
def test_the_frames_hold_what_the_record_sums_up(finished: tuple[Ended, Run]) -> None:
    _, run = finished
    measured = run.latencies.filter(pl.col("phase") == "measured")
    assert measured.height == run.record["latency"]["queries"] >= 1024
    assert run.latencies.filter(pl.col("phase") == "warmup").height == 50
    (median,) = (entry["value"] for entry in run.record["latency"]["percentiles"] if entry["percentile"] == 50)
    assert median == pytest.approx(measured["latency_ns"].median(), rel=0.2), "LoadGen's own, by a clock around ours"
    assert run.predictions["index"].to_list() == list(range(450)), "in the dataset's order"
    right = (run.predictions["class"] == run.predictions["target"]).sum()
    assert 100 * right / 450 == run.metrics["top1"]


@pytest.mark.slow
def test_spans_nest_in_parents_that_exist(finished: tuple[Ended, Run]) -> None:
    _, run = finished
    spans = run.spans
    assert spans.height == run.record["trace"]["spans"]
    assert spans["span_id"].is_unique().all()
    assert spans["trace_id"].unique().to_list() == [run.record["trace"]["trace_id"]]
    roots = spans.filter(pl.col("parent_id").is_null())
    assert roots["name"].to_list() == ["evaluate digits-cnn"]
    children = spans.filter(pl.col("parent_id").is_not_null())
    joined = children.join(spans, left_on="parent_id", right_on="span_id", suffix="_of_parent")
    assert joined.height == children.height, "every parent is in the table"
    assert (joined["start_ns"] >= joined["start_ns_of_parent"]).all()
    assert (joined["end_ns"] <= joined["end_ns_of_parent"]).all()
    assert (spans["start_ns"] <= spans["end_ns"]).all()
    predictions = spans.filter(pl.col("name") == "predict digits-cnn")
    assert predictions.height == run.latencies.height
    assert set(predictions["level"]) == {"model"}


@pytest.mark.slow
def test_the_report_is_one_file_that_loads_nothing(finished: tuple[Ended, Run]) -> None:
    _, run = finished
    html = (run.path / "report.html").read_text(encoding="utf-8")
    assert "digits-cnn" in html
    assert "99.1111" in html
    for reference in ('src="http', 'href="http://', "@import", "<link "):
        assert reference not in html


def test_json_is_one_document_with_the_record_in_it() -> None:
    ended = mlms("eval", manifest(), "--output", "runs", "--json")
    assert ended.code == 0, ended.err
    (entry,) = ended.data
    path = Path(entry.pop("path"))
    assert entry.pop("resumed") is False
    assert entry == Run(path).record


def test_quiet_prints_the_result_and_nothing_else() -> None:
    ended = mlms("eval", manifest(), "--output", "runs", "--quiet")
    assert ended.code == 0
    assert ended.err == ""
    assert "99.11" in ended.out


def test_resume_takes_the_finished_run() -> None:
    path = manifest()
    first = mlms("eval", path, "--output", "runs", "--json").data[0]
    again = mlms("eval", path, "--output", "runs", "--json", "--resume")
    assert again.code == 0
    assert again.data[0]["path"] == first["path"]
    assert again.data[0]["resumed"] is True
    assert len(list(Path("runs").iterdir())) == 1
    changed = mlms("eval", path, "--output", "runs", "--json", "--resume", "--set", "batch_size=2").data[0]
    assert changed["resumed"] is False
    assert changed["path"] != first["path"]


def test_the_same_evaluation_has_the_same_digest_and_another_one_another() -> None:
    path = manifest()
    (first,) = package.plan(path).evaluations
    (again,) = package.plan(path).evaluations
    elsewhere = manifest(Path("deep", "in", "there.yaml"), name="other-name")
    (moved,) = package.plan(elsewhere).evaluations
    assert first.digest == again.digest == moved.digest
    for change in ("seed=1", "batch_size=2", "scenario.min_queries=17", "dtype=float64", "limit=100", "warmup=4"):
        (changed,) = package.plan(path, overrides=[change]).evaluations
        assert changed.digest != first.digest, change


def test_set_overrides_the_manifest() -> None:
    ended = mlms(
        "eval", manifest(), "--output", "runs", "--json", "--set", "scenario.min_queries=33", "--set", "seed=7"
    )
    (record,) = ended.data
    assert record["scenario"]["min_queries"] == 33
    assert record["latency"]["queries"] >= 33
    assert record["seeds"]["evaluation"] == 7


def test_scenarios_and_batches_give_one_accuracy() -> None:
    """Samples that the scenario didn't answer are scored all the same."""
    values = {}
    for case, change in {
        "single_stream": {},
        "offline": {"scenario": {**QUICK, "type": "offline"}, "batch_size": 32},
        "a batch of more than the dataset": {"batch_size": 512, "scenario": {**QUICK, "min_queries": 2}},
    }.items():
        (run,) = package.evaluate(manifest(**change)).raise_for_failures()
        assert run.record["dataset"]["evaluated"] == 450
        assert run.predictions["index"].to_list() == list(range(450))
        values[case] = run.metrics
    assert len({str(value) for value in values.values()}) == 1, values
    assert round(values["offline"]["top1"], 4) == 99.1111
