"""LoadGen's detail log against its summary of the same test."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlms.errors import StorageError
from mlms.manifests.types import ScenarioSpec
from mlms.progress import Silent
from mlms.scenarios.detail_log import FILE, LoadGenResult, read
from mlms.scenarios.loadgen import Seeds, measure

TAIL = {"single_stream": 90, "multi_stream": 99, "server": 99, "offline": 90}
RULES: dict[str, dict[str, Any]] = {
    "multi_stream": {"samples_per_query": 2},
    "server": {"target_qps": 2000, "target_latency": 5.0},
}


def run(folder: Path, scenario: str, least: int = 700) -> tuple[LoadGenResult, str]:
    """What the log says and the text of the summary."""
    rules = {"target_latency_percentile": TAIL[scenario], **RULES.get(scenario, {})}
    measure(
        ScenarioSpec(scenario, least, 0.0, 10.0, **rules),
        lambda batch: {"y": batch["x"]},
        10,
        1,
        lambda positions: {"x": np.array(positions)},
        expected_ns=100_000,
        seeds=Seeds(1, 2, 3),
        log_directory=folder,
        progress=Silent(),
        region=nullcontext(),
    )
    return read(folder, scenario, TAIL[scenario]), (folder / "mlperf_log_summary.txt").read_text()


@pytest.mark.parametrize("scenario", TAIL)
def test_figures_are_those_of_the_summary(tmp_path: Path, scenario: str) -> None:
    result, summary = run(tmp_path, scenario)
    assert f"Result is : {result.result}" in summary
    percentiles = re.findall(r"^([0-9.]+) percentile latency \(ns\) +: (\d+)", summary, re.MULTILINE)
    assert result.percentiles == {float(key): int(value) for key, value in percentiles}
    assert len(result.percentiles) >= 6
    means = re.findall(r"^(Mean|Min|Max) latency \(ns\) +: (\d+)", summary, re.MULTILINE)
    assert {"Mean": result.mean_ns, "Min": result.min_ns, "Max": result.max_ns} == {
        key: float(value) for key, value in means
    }
    estimates = re.findall(r"Early stopping ([0-9.]+)th percentile estimate: (\d+)", summary)
    assert result.early_stopping == {float(key): int(value) for key, value in estimates}
    assert (scenario in ("single_stream", "multi_stream")) is bool(estimates)
    if scenario == "multi_stream":
        assert result.rate is None
    else:
        assert result.rate is not None
        assert result.rate[0] > 0


def test_an_invalid_test_gives_its_reasons(tmp_path: Path) -> None:
    result, summary = run(tmp_path, "single_stream", least=10)
    assert (result.result, "Result is : INVALID" in summary) == ("INVALID", True)
    assert result.met["early_stopping"] is False
    assert result.errors == ()


def test_server_says_how_many_queries_it_lacks(tmp_path: Path) -> None:
    result, summary = run(tmp_path, "server", least=100)
    assert f"at least {result.more_needed} more queries" in summary


@pytest.mark.parametrize("kept", [0, 1, 500, 5000, -2, -400])
def test_a_log_that_is_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    run(tmp_path, "single_stream")
    log = tmp_path / FILE
    log.write_bytes(log.read_bytes()[:kept])
    with pytest.raises(StorageError, match="incomplete; is the disk full") as caught:
        read(tmp_path, "single_stream", 90)
    assert str(log) in str(caught.value)


def test_so_is_one_that_ends_before_the_results_and_one_that_is_missing(tmp_path: Path) -> None:
    run(tmp_path, "single_stream")
    log = tmp_path / FILE
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if "result_" not in line))
    with pytest.raises(StorageError, match="incomplete"):
        read(tmp_path, "single_stream", 90)
    log.unlink()
    with pytest.raises(StorageError, match="incomplete"):
        read(tmp_path, "single_stream", 90)
