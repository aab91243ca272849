"""Evaluations whose trace goes down to the layers."""

from pathlib import Path

import polars as pl
import pytest

from fakes.program import mlms
from mlms.runs.run import Run

DIGITS = ("run", "image_classification", "--model", "digits-cnn", "--dataset", "digits-test", "--device", "cpu")
QUICK = ("--min-queries", "64", "--min-duration", "10ms", "--quiet")


def evaluated(folder: Path, *options: str) -> Run:
    ended = mlms(*DIGITS, *QUICK, "--output", str(folder), *options)
    assert ended.code == 0, ended.err
    (path,) = (path for path in folder.iterdir() if (path / "run.json").is_file())
    return Run(path)


@pytest.mark.parametrize(
    "scenario",
    [(), ("--scenario", "server", "--target-qps", "200", "--target-latency", "1s")],
    ids=["stream", "server"],
)
def test_every_span_lies_inside_its_parent(scenario: tuple[str, ...], tmp_path: Path) -> None:
    run = evaluated(tmp_path, "--trace-level", "layer", *scenario)
    spans = run.spans
    parents = spans.select(
        parent_id="span_id", outer_start="start_ns", outer_end="end_ns", outer_level="level", outer="name"
    )
    joined = spans.filter(pl.col("level") != "application").join(parents, on="parent_id", how="left")
    assert joined["outer_start"].null_count() == 0
    assert joined.filter(
        (pl.col("start_ns") < pl.col("outer_start")) | (pl.col("end_ns") > pl.col("outer_end"))
    ).is_empty()
    assert set(joined.filter(pl.col("level") == "model")["outer"]) == {"warm_up", "measure"}
    assert set(joined.filter(pl.col("level") == "framework")["outer_level"]) == {"model"}
    assert set(joined.filter(pl.col("level") == "layer")["outer"]) == {"forward"}


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


def test_a_level_that_the_framework_lacks_is_refused(tmp_path: Path) -> None:
    ended = mlms(*DIGITS, *QUICK, "--output", str(tmp_path), "--trace-level", "operator")
    assert ended.code == 2
    assert "has no trace level 'operator'" in ended.err
    assert "layer" in ended.err
