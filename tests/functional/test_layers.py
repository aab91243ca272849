"""Evaluations whose trace goes below the predictions."""

import json
from pathlib import Path

import polars as pl
import pytest

from fakes.program import CHECKOUT, mlms
from mlms.runs.run import Run

DIGITS = ("run", "image_classification", "--model", "digits-cnn", "--dataset", "digits-test", "--device", "cpu")
QUICK = ("--min-queries", "64", "--min-duration", "10ms", "--quiet")


def evaluated(folder: Path, *options: str, command: tuple[str, ...] = (*DIGITS, *QUICK)) -> Run:
    ended = mlms(*command, "--output", str(folder), *options)
    assert ended.code == 0, ended.err
    (path,) = (path for path in folder.iterdir() if (path / "run.json").is_file())
    return Run(path)


SERVER = (
    *("eval", str(CHECKOUT / "manifests" / "digits-server.yaml"), "--set", "scenario.workers=2"),
    *(
        "--set",
        "scenario.target_qps=100",
        "--set",
        "scenario.target_latency=2s",
        "--set",
        "scenario.min_duration=500ms",
    ),
)


def assert_nested(run: Run) -> pl.DataFrame:
    """No orphan, and every span within its parent; the spans below the steps, each beside its parent."""
    spans = run.spans
    parents = spans.select(
        parent_id="span_id", outer_start="start_ns", outer_end="end_ns", outer_level="level", outer="name"
    )
    joined = spans.filter(pl.col("level") != "application").join(parents, on="parent_id", how="left")
    assert joined["outer_start"].null_count() == 0
    assert joined.filter(
        (pl.col("start_ns") < pl.col("outer_start")) | (pl.col("end_ns") > pl.col("outer_end"))
    ).is_empty()
    return joined


@pytest.mark.parametrize("level", ["model", "layer"])
def test_predictions_tell_the_size_of_their_own_batch(level: str, tmp_path: Path) -> None:
    busy = ("--set", "scenario.target_qps=2000", "--set", "scenario.target_latency=5s")
    run = evaluated(tmp_path, "--trace-level", level, *busy, command=SERVER)
    spans = run.spans
    (measuring,) = spans.filter(pl.col("name") == "measure")["span_id"]
    predictions = spans.filter(pl.col("level") == "model", pl.col("parent_id") == measuring)
    told = [json.loads(text).get("mlms.batch_size") for text in predictions["attributes"]]
    begun, done = pl.col("start_ns") + pl.col("waited_ns"), pl.col("start_ns") + pl.col("latency_ns")
    queries = run.latencies.filter(pl.col("phase") == "measured")
    real = queries.group_by(begun=begun, done=done).agg(pl.col("samples").sum())["samples"].to_list()
    first_of_workers = 0 if level == "model" else 2
    assert told.count(None) == first_of_workers
    assert sorted(size for size in told if size) == sorted(real)
    assert len(set(real)) > 1


@pytest.mark.parametrize("level", ["layer", "operator", "library"])
@pytest.mark.parametrize("command", [(*DIGITS, *QUICK), SERVER], ids=["stream", "server of two workers"])
def test_every_span_lies_inside_its_parent(level: str, command: tuple[str, ...], tmp_path: Path) -> None:
    run = evaluated(tmp_path, "--trace-level", level, command=command)
    joined = assert_nested(run)
    assert set(joined.filter(pl.col("level") == "model")["outer"]) == {"warm_up", "measure"}
    assert set(joined.filter(pl.col("level") == "framework")["outer_level"]) == {"model"}
    assert set(joined.filter(pl.col("level") == "layer")["outer"]) == {"forward"}
    if level != "layer":
        operators = joined.filter(pl.col("level") == "operator")
        assert set(operators["outer_level"]) == {"framework", "layer", "operator"}


@pytest.mark.slow
def test_resnet50_down_to_its_library_calls(tmp_path: Path) -> None:
    ended = mlms(
        *("run", "image_classification", "--model", "resnet50", "--weights", "random", "--device", "cpu"),
        *("--warmup", "1", "--min-queries", "3", "--min-duration", "10ms", "--quiet", "--output", str(tmp_path)),
        *("--trace-level", "library"),
    )
    assert ended.code == 0, ended.err
    (path,) = (path for path in tmp_path.iterdir() if (path / "run.json").is_file())
    joined = assert_nested(Run(path))
    assert joined.filter(pl.col("level") == "model").height == 4
    convolutions = joined.filter(pl.col("name") == "aten::conv2d")
    assert convolutions.height == 4 * 53
    assert set(convolutions["outer_level"]) == {"layer"}
    library = joined.filter(pl.col("name") == "oneDNN convolution")
    assert library.height == 4 * 53
    assert set(library["outer_level"]) == {"operator"}


def test_leveled(tmp_path: Path) -> None:
    run = evaluated(tmp_path, "--trace-level", "operator", "--leveled")
    levels = run.record["trace"]["levels"]
    assert [entry["level"] for entry in levels] == ["model", "framework", "layer", "operator"]
    assert levels[0]["overhead"] == 0
    assert all(entry["predictions"] >= 64 for entry in levels)
    joined = assert_nested(run)
    assert run.spans["trace_id"].n_unique() == 1
    steps = run.spans.filter(pl.col("name") == "measure").with_columns(
        level=pl.col("attributes").str.json_path_match("$['mlms.trace.level']")
    )
    assert steps["level"].to_list() == ["model", "framework", "layer", "operator"]
    model = joined.filter(pl.col("level") == "model")
    below = {
        level: model.filter(pl.col("parent_id") == step).height
        for step, level in steps.select("span_id", "level").rows()
    }
    assert below == {entry["level"]: entry["predictions"] for entry in levels}
    measured = run.latencies.filter(pl.col("phase") == "measured")
    assert measured.height == levels[0]["predictions"], "the run's own figures are those of the shallowest"
    ended = mlms("analyze", str(run.path), "layer-latency", "--json", "--no-measure")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert "Measured at level layer; its median is " in found["measured"]
    assert [row["name"] for row in found["rows"]] == [str(number) for number in range(9)]


def test_leveled_needs_a_level_to_go_to(tmp_path: Path) -> None:
    ended = mlms(*DIGITS, *QUICK, "--output", str(tmp_path), "--leveled")
    assert ended.code == 2
    assert (
        "--leveled: leveled profiling goes from the level 'model' down to --trace-level, which is 'model'" in ended.err
    )
    assert "such as layer" in ended.err


def test_every_prediction_has_every_layer(tmp_path: Path) -> None:
    run = evaluated(tmp_path, "--trace-level", "layer")
    predictions = run.latencies.height
    counts = dict(run.spans.group_by("name").len().iter_rows())
    assert counts["predict digits-cnn"] == counts["forward"] == counts["0"] == predictions
    described = run.spans.filter(pl.col("name") == "0")["attributes"].str.json_path_match("$['mlms.layer.type']")
    assert set(described) == {"Conv2d"}


def test_a_level_above_the_layers_records_none(tmp_path: Path) -> None:
    run = evaluated(tmp_path, "--trace-level", "framework")
    assert set(run.spans["level"]) == {"application", "model", "framework"}
