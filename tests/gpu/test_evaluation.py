"""An evaluation on a real GPU as a user runs it, traced down to the hardware's counters."""

from __future__ import annotations

import polars as pl
import pytest

from fakes.program import mlms
from mlms import api
from mlms.runs.run import Run

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    pycupti = pytest.importorskip("pycupti", reason="pycupti isn't installed")
    if not hasattr(pycupti, "probe") or pycupti.probe().problem:
        pytest.skip("GPU work can't be traced here: see `mlms doctor`")
    folder = tmp_path_factory.mktemp("runs")
    ended = mlms(
        *("run", "image_classification", "--model", "resnet50", "--weights", "random", "--dataset", "sample-images"),
        *("--device", "cuda", "--trace-level", "hardware", "--min-queries", "20", "--min-duration", "10ms"),
        *("--warmup", "5", "--quiet", "--output", str(folder)),
    )
    assert ended.code == 0, ended.err
    (path,) = (path for path in folder.iterdir() if (path / "run.json").is_file())
    return Run(path)


@pytest.fixture(scope="module")
def spans(run: Run) -> pl.DataFrame:
    """The span table with each span's parent beside it, and some attributes as columns."""
    outer = run.spans.select(parent_id="span_id", outer="name", outer_level="level")
    return run.spans.join(outer, on="parent_id", how="left").with_columns(
        activity=pl.col("attributes").str.json_path_match("$['mlms.gpu.activity']"),
        flops=pl.col("attributes").str.json_path_match("$['mlms.gpu.flops']").cast(pl.Float64),
        occupancy=pl.col("attributes").str.json_path_match("$['mlms.gpu.occupancy']").cast(pl.Float64),
        read=pl.col("attributes").str.json_path_match("$['mlms.gpu.dram_read_bytes']").cast(pl.Float64),
    )


def test_nothing_was_off_or_lost(run: Run) -> None:
    assert [warning for warning in run.record["warnings"] if "cupti" in warning] == []


def test_every_kernel_lies_below_a_layer(spans: pl.DataFrame) -> None:
    kernels = spans.filter(pl.col("activity") == "kernel")
    assert kernels.height > 20 * 150
    assert kernels.filter(pl.col("attributes").str.contains("unattributed")).height <= kernels.height / 1000
    assert kernels.filter(pl.col("outer_level") == "layer").height >= 0.9 * kernels.height
    assert spans["parent_id"].null_count() == 1
    assert spans["outer"].null_count() == 1


def test_every_kernel_was_counted(spans: pl.DataFrame) -> None:
    kernels = spans.filter(pl.col("activity") == "kernel")
    assert kernels["flops"].null_count() == 0
    assert kernels["occupancy"].is_between(0, 1).all()
    assert kernels["read"].sum() > 0


def test_the_analyses_read_what_was_counted(run: Run) -> None:
    by_layer = api.analyze(run, "metrics-by-layer")
    convolutions = by_layer.filter(pl.col("type") == "Conv2d")
    assert convolutions.height == 53
    assert convolutions["flops"].null_count() == 0
    gpu = api.analyze(run, "gpu-by-layer")
    assert gpu["gpu_ns"].sum() > 0
    roofline = api.analyze(run, "kernel-roofline", measure=False)
    assert roofline["intensity"].null_count() < roofline.height
