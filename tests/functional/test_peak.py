"""``mlms find-peak`` on a server whose capacity is known: a prediction sleeps for 20 ms, and there is one worker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fakes.tiny import mlms, write_manifest

CAPACITY = 50
RULES = (
    "type=server",
    "target_qps=20",
    "target_latency=100ms",
    "target_latency_percentile=50",
    "min_query_count=30",
    "min_duration=500ms",
)


def search(folder: Path, *more: str) -> tuple[int, Any, str]:
    rules = [option for rule in RULES for option in ("--set", f"scenario.{rule}")]
    # The plugin is quick for its first twenty predictions.
    command = (
        "find-peak",
        write_manifest(folder),
        "-o",
        "runs",
        "--precision",
        "1",
        "--set",
        "warmup=25",
        "--set",
        "isolation=process",
        *rules,
        *more,
    )
    ended = mlms(*command, folder=folder, trouble={0: "slow"})
    return ended.returncode, json.loads(ended.stdout) if "--json" in more else ended.stdout, ended.stderr


@pytest.mark.slow
def test_the_peak_of_a_server_lies_below_its_capacity_and_the_search_goes_on_where_it_ended(tmp_path: Path) -> None:
    code, peak, said = search(tmp_path, "--json")
    assert code == 0, said
    assert peak["parameter"] == "target_qps"
    assert 0 < peak["value"] <= CAPACITY
    tried = peak["probes"]
    assert all(not probe["valid"] for probe in tried if probe["value"] > CAPACITY)
    assert all(probe["problems"] for probe in tried if not probe["valid"])
    assert all(probe["achieved"] < 1.1 * CAPACITY for probe in tried if probe["value"] > CAPACITY)
    assert not any(probe["resumed"] for probe in tried)

    shutil.rmtree(tmp_path / tried[-1]["run"])  # as if it had been interrupted there
    code, again, said = search(tmp_path, "--json")
    assert code == 0, said
    resumed = {probe["value"]: probe["resumed"] for probe in again["probes"]}
    assert [resumed[probe["value"]] for probe in tried] == [True] * (len(tried) - 1) + [False]

    code, table, said = search(tmp_path)
    assert code == 0
    assert "(finished before)" in said
    assert "target_qps" in table
