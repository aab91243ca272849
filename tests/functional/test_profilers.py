"""Evaluations that profilers observe, from the manifest to the report, and their counters at a collector."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mlms as package
from fakes.distributions import importable
from fakes.manifests import QUICK, manifest
from fakes.otlp_receiver import points, receiver
from fakes.program import mlms
from mlms import api
from mlms.runs.run import Run
from mlms.tracing.counters import SCHEMA

MEASURED = {**QUICK, "min_queries": 64, "min_duration": "500ms"}


def evaluated(*arguments: str | Path, **changes: Any) -> tuple[Run, str]:
    path = manifest(**{"scenario": MEASURED, **changes})
    ended = mlms("eval", path, "--output", "runs", *arguments)
    assert ended.code == 0, ended.err
    return api.open_run("@last", output="runs"), ended.out


def warnings_of(run: Run, beginning: str) -> list[str]:
    """Those that begin so; a busy machine makes others."""
    return [warning for warning in run.record["warnings"] if warning.startswith(beginning)]


def test_counters_go_from_the_manifest_to_frame_record_terminal_and_report() -> None:
    run, out = evaluated(profilers=[{"host": {"interval": "20ms"}}])
    frame = run.counters
    assert dict(frame.schema) == SCHEMA
    assert "process.memory.usage" in set(frame["name"])
    # They were taken while the steps ran that they are to observe, and no longer.
    steps = {name: (start, end) for name, start, end in run.spans.select("name", "start_ns", "end_ns").iter_rows()}
    begun, ended = frame["time_ns"].min(), frame["time_ns"].max()
    assert steps["preprocess"][1] <= begun <= steps["warm_up"][0]  # type: ignore[operator]
    assert steps["measure"][1] <= ended <= steps["account"][1]  # type: ignore[operator]
    summary = {entry["name"]: entry for entry in run.record["counters"]}
    memory = summary["process.memory.usage"]
    assert memory["samples"] >= 5
    assert 50e6 < memory["min"] <= memory["median"] <= memory["max"] < 50e9
    times = [entry for entry in run.record["counters"] if entry["name"] == "process.cpu.time"]
    spent = sum(entry["increase"] for entry in times)
    assert spent == pytest.approx(run.record["resources"]["cpu_seconds"], abs=0.25)
    assert run.record["evaluation"]["profilers"] == [{"name": "host", "options": {"interval": "20ms"}}]
    assert run.record["files"]["counters"] == "counters.parquet"
    assert run.missing == []
    assert warnings_of(run, "host") == []
    assert "process.memory.usage" in out
    report = (run.path / "report.html").read_text("utf-8")
    assert ">Counters<" in report
    assert "process.context_switches" in report


def test_without_profilers_there_are_none() -> None:
    run, out = evaluated()
    assert run.counters.is_empty()
    assert dict(run.counters.schema) == SCHEMA
    assert run.record["counters"] == []
    assert "counters" not in run.record["files"]
    assert not (run.path / "counters.parquet").exists()
    assert "process." not in out
    assert ">Counters<" not in (run.path / "report.html").read_text("utf-8")


def test_profilers_by_option_and_without_a_trace() -> None:
    run, _ = evaluated("--profiler", "host", "--profiler", "nvml", "--trace-level", "none", profilers=["perf"])
    assert [step["name"] for step in run.record["evaluation"]["profilers"]] == ["host", "nvml"]
    assert run.spans.is_empty()
    assert not run.counters.is_empty()
    told = warnings_of(run, "nvml: ")
    assert len(told) == (0 if (run.counters["name"] == "hw.gpu.utilization").any() else 1)
    assert all(warning in (run.path / "log.txt").read_text("utf-8") for warning in told)
    ended = mlms(
        *("run", "image_classification", "--model", "digits-cnn", "--dataset", "digits-test", "--device", "cpu"),
        *("--min-queries", "16", "--min-duration", "200ms", "--output", "others", "--profiler", "host", "--json"),
        *("--set", "warmup=3"),
    )
    assert ended.code == 0, ended.err
    assert not Run(ended.data[0]["path"]).counters.is_empty()
    assert ended.data[0]["evaluation"]["warmup"] == 3


def test_warnings_of_several_runs_are_told_once() -> None:
    path = manifest(scenario=MEASURED, profilers=["nvml"], matrix={"batch_size": [1, 2]})
    ended = mlms("eval", path, "--output", "runs")
    assert ended.code == 0, ended.err
    runs = [Run(line.split()[1]) for line in ended.out.splitlines() if line.startswith("run ")]
    told = warnings_of(runs[0], "nvml: ")
    if not told:
        pytest.skip("nvml has nothing to warn of where there is a GPU")
    assert f"warning: 2 of 2 runs: {told[0]}" in ended.out


def test_in_a_process_of_its_own() -> None:
    run, _ = evaluated("--isolation", "process", profilers=["host"])
    assert not run.counters.is_empty()


def test_resuming_asks_for_the_same_profilers() -> None:
    evaluated()
    again = mlms("eval", manifest(scenario=MEASURED), "--output", "runs", "--resume", "--json")
    assert [record["resumed"] for record in again.data] == [True]
    other = mlms("eval", manifest(scenario=MEASURED, profilers=["host"]), "--output", "runs", "--resume", "--json")
    assert [record["resumed"] for record in other.data] == [False]


@pytest.mark.parametrize("level", ["hardware"])
def test_the_level_turns_them_on(level: str) -> None:
    framework = api.load_plugins().frameworks.get("pytorch").component.make({}, None)  # type: ignore[arg-type]
    if "library" not in framework.levels:
        ended = mlms("eval", manifest(), "--trace-level", level)
        assert ended.code == 2
        assert "has no trace level 'hardware'" in ended.err
        assert "name profilers (--profiler host)" in ended.err
        pytest.skip("PyTorch doesn't record library calls yet")
    run, _ = evaluated("--trace-level", level)
    assert "process.memory.usage" in set(run.counters["name"])
    assert set(run.spans["level"]) >= {"layer", "operator"}


@pytest.mark.parametrize(
    ("profilers", "told"),
    [
        (["hots"], "no profiler is named 'hots'\n  hint: did you mean host?"),
        ([{"host": {"intervall": 1}}], "did you mean 'interval'?"),
        ([{"host": {"interval": "1 hour"}}], "profilers.host.interval"),
        ([{"host": {"interval": 0.001}}], "profilers.host.interval"),
        (["host", "host"], "profiler 'host' is named twice"),
        ("host", "profilers"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(profilers: Any, told: str) -> None:
    path = manifest(profilers=profilers)
    for ended in (mlms("validate", path), mlms("eval", path, "--output", "runs")):
        assert ended.code == 2
        assert "Traceback" not in ended.err
        assert told.partition("\n")[0] in ended.err
        assert told.rpartition("hint: ")[2] in ended.err
    assert not list(Path().glob("runs/*/run.json"))


def test_the_collector_gets_the_counters_as_metrics() -> None:
    with receiver() as collector:
        run, _ = evaluated("--otlp", collector.endpoint, profilers=["host"])
        first = points(collector.metrics)
        collector.metrics.clear()
        sent = mlms("trace", "send", "@last", "--runs", "runs", "--otlp", collector.endpoint)
        again = points(collector.metrics)
    assert run.record["trace"]["metrics"] == {
        "endpoint": collector.endpoint,
        "sent": run.counters.height,
        "error": None,
    }
    assert sent.out.splitlines()[1] == f"sent {run.counters.height} samples of counters to {collector.endpoint}"
    assert first == again

    def key(point: dict[str, Any]) -> tuple[Any, ...]:
        attributes = {name: value for name, value in point["attributes"].items() if name != "mlms.run_id"}
        return point["name"], point["unit"], point["kind"], point["time_ns"], point["value"], json.dumps(attributes)

    kept = [
        key({**row, "attributes": json.loads(row["attributes"])})
        for row in run.counters.select(list(SCHEMA)).iter_rows(named=True)
    ]
    assert sorted(map(key, first)) == sorted(kept)
    assert {point["attributes"]["mlms.run_id"] for point in first} == {run.id}
    traced = {pair.key for pair in collector.requests[0].resource_spans[0].resource.attributes}
    assert traced >= {"service.name", "host.name", "process.pid"}


def test_a_collector_that_takes_no_metrics_is_told_once() -> None:
    with receiver(takes_metrics=False) as collector:
        run, _ = evaluated("--otlp", collector.endpoint, profilers=["host"])
        sent = mlms("trace", "send", "@last", "--runs", "runs", "--otlp", collector.endpoint)
    (warning,) = warnings_of(run, "the collector")
    assert (
        warning == f"the collector at {collector.endpoint} takes no metrics; all counters are kept in counters.parquet"
    )
    assert run.record["trace"]["otlp"]["error"] is None
    assert sent.code == 0
    assert "takes no metrics" in sent.err


def test_a_dead_collector_is_waited_for_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        run, _ = evaluated("--otlp", f"http://127.0.0.1:{free.getsockname()[1]}", profilers=["host"])
    assert len(warnings_of(run, "the collector")) == 1
    assert run.record["trace"]["metrics"]["sent"] == 0
    assert "not tried" in run.record["trace"]["metrics"]["error"]


def test_the_standard_s_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", collector.endpoint)
        run, _ = evaluated(profilers=["host"])
        assert collector.requests == [], "spans have an endpoint of their own"
        assert len(points(collector.metrics)) == run.counters.height
        collector.metrics.clear()
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        run, _ = evaluated(profilers=["host"])
        assert not run.counters.is_empty(), "what is named is observed and kept"
    assert collector.metrics == []
    assert "metrics" not in run.record["trace"]


@pytest.mark.parametrize("name", ["chrome", "perfetto"])
def test_traces_for_viewers_have_the_counters(name: str) -> None:
    run, _ = evaluated(profilers=["host"])
    assert mlms("trace", "export", "@last", "--runs", "runs", "-f", name, "-o", "trace").code == 0
    data = Path("trace").read_bytes()
    if name == "chrome":
        events = [event for event in json.loads(data)["traceEvents"] if event["ph"] == "C"]
        assert len(events) == run.counters.height
    assert b"process.memory.usage" in data
    (run.path / "counters.parquet").write_bytes(b"cut")
    ended = mlms("trace", "export", "@last", "--runs", "runs", "-f", name, "-o", "other")
    assert ended.code == 2
    assert "counters.parquet: this Parquet file is cut off or damaged" in ended.err


PLUGIN = """
from mlms.hooks import Component, hookimpl


class Falls:
    level = "hardware"

    def attach(self, recorder):
        raise RuntimeError("down the stairs")


@hookimpl
def mlms_profilers():
    return [Component("falls", lambda options, context: Falls(), "Falls.")]
"""


def test_a_profiler_that_fails_costs_a_warning_and_not_the_run(tmp_path: Path) -> None:
    site = tmp_path / "plugins"
    info = site / "falling-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "falling.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: falling\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mlms]\nfalling = falling\n")
    with importable(site):
        run, _ = evaluated(profilers=["falls", "host"])
    (warning,) = warnings_of(run, "falls")
    assert warning == "falls (from falling 1.0): failed: RuntimeError: down the stairs"
    assert "Traceback" in (run.path / "log.txt").read_text("utf-8")
    assert not run.counters.is_empty()
    assert run.record["metrics"][0]["value"] is not None


def test_the_api_opens_them() -> None:
    run, _ = evaluated(profilers=["host"])
    frame = package.open_run(run.path).counters
    assert frame.filter(pl.col("name") == "process.thread.count")["value"].min() >= 1  # type: ignore[operator]
