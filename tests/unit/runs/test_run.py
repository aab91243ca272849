from pathlib import Path

import pytest
from rich.console import Console

from fakes.records import write_run
from mlms.errors import StorageError
from mlms.runs.run import Run


def test_a_run_gives_plain_values(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path))
    assert run.name == "digits-cnn"
    assert run.metrics == {"top1": 98.8889, "top5": 100.0}
    assert repr(run) == f"<Run {run.id}, top1=98.8889, top5=100>"


def test_percentiles_that_are_withheld_are_left_out(tmp_path: Path) -> None:
    run = Run(write_run(tmp_path))
    stored = {entry["percentile"]: entry["value"] for entry in run.record["latency"]["percentiles"]}
    assert None in stored.values()
    assert run.percentiles == {percentile: value for percentile, value in stored.items() if value is not None} != {}
    assert Run(write_run(tmp_path / "other", latency=None)).percentiles == {}


def test_a_metric_without_a_value_is_left_out(tmp_path: Path) -> None:
    metric = {"name": "top1", "value": None, "unit": "%", "samples": 0, "published": None}
    assert Run(write_run(tmp_path, metrics=[metric])).metrics == {}


def test_half_a_run_opens_and_names_the_missing_file(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    (path / "latencies.parquet").unlink()
    (path / "spans.parquet").write_bytes(b"PAR1")
    run = Run(path)
    assert run.missing == ["latencies.parquet"]
    with pytest.raises(StorageError, match=r"latencies\.parquet: this file is missing"):
        _ = run.latencies
    with pytest.raises(StorageError, match=r"spans\.parquet: this Parquet file is cut off"):
        _ = run.spans


def test_nothing_is_missing_of_a_whole_run(tmp_path: Path) -> None:
    assert Run(write_run(tmp_path)).missing == []
    performance_only = Run(write_run(tmp_path, files={"latencies": "latencies.parquet"}))
    (performance_only.path / "predictions.parquet").unlink()
    assert performance_only.missing == []


def test_rich_shows_names_as_they_are(tmp_path: Path) -> None:
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    console.print(Run(write_run(tmp_path, name="[red]x[/red]")))
    text = console.export_text()
    assert "[red]x[/red]" in text
    assert "98.8889 %" in text
    assert "insufficient (100 of 662)" in text


def test_html_is_escaped(tmp_path: Path) -> None:
    html = Run(write_run(tmp_path, name="<script>", warnings=["a < b"]))._repr_html_()
    assert "<script>" not in html
    assert "<caption>&lt;script&gt;</caption>" in html
    assert "a &lt; b" in html
