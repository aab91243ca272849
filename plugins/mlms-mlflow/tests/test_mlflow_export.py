"""Exports into a real SQLite tracking store, read back with MLflow's own client."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from fakes.records import write_run
from mlms.errors import InputError, StorageError
from mlms.runs.run import Run

pytest.importorskip("mlflow", reason="MLflow is not installed")
pytest.importorskip("sqlalchemy", reason="a database store needs SQLAlchemy")
pytest.importorskip("mlms_mlflow", reason="the plugin is not installed")

from mlflow import MlflowClient
from mlms_mlflow import content
from mlms_mlflow.plugin import OPTIONS, make

from mlms.hooks import Context, Exporter


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)  # a database store puts its artifacts below the working directory


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty_store.read_bytes())
    return f"sqlite:///{path}"


def exporter(uri: str, **options: Any) -> Exporter:
    return make({"tracking_uri": uri, **options}, Context(labels=lambda name: ()))


def test_a_run_arrives_whole(uri: str, tmp_path: Path) -> None:
    path = write_run(tmp_path / "runs")
    said = exporter(uri).export([Run(path)], None)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("mlms")
    assert experiment is not None
    (stored,) = client.search_runs([experiment.experiment_id])
    assert said == f"{path.name}: MLflow run {stored.info.run_id} of experiment 'mlms'"
    assert stored.info.run_name == "digits-cnn"
    assert stored.info.status == "FINISHED"
    assert (stored.info.start_time, stored.info.end_time) == (1795468500123, 1795468507000)
    assert stored.data.metrics["top1"] == 98.8889
    assert stored.data.metrics["latency.p90_ns"] == 90222
    assert "latency.p99_ns" not in stored.data.metrics  # withheld
    assert stored.data.metrics["throughput"] == 12000.1
    assert stored.data.params["model"] == "digits-cnn"
    assert stored.data.params["framework_installed"] == "2.15.0"
    assert stored.data.tags[content.RUN_ID] == path.name
    assert stored.data.tags["mlms.scenario.valid"] == "true"
    assert stored.data.tags["mlms.unit.top1"] == "%"
    names = {file.path for file in client.list_artifacts(stored.info.run_id)}
    assert {"run.json", "latencies.parquet", "predictions.parquet", "spans.parquet", "log.txt"} <= names
    kept = client.download_artifacts(stored.info.run_id, "latencies.parquet", str(tmp_path))
    assert Path(kept).read_bytes() == (path / "latencies.parquet").read_bytes()


def test_a_second_export_changes_nothing(uri: str, tmp_path: Path) -> None:
    run = Run(write_run(tmp_path / "runs"))
    exporter(uri, artifacts=False).export([run], None)
    assert "already MLflow run" in exporter(uri, artifacts=False).export([run], None)
    client = MlflowClient(tracking_uri=uri)
    (stored,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert client.list_artifacts(stored.info.run_id) == []


def test_several_runs_and_an_experiment_of_its_own(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "from the environment")
    runs = [Run(write_run(tmp_path / "runs", f"run-{number}", name=f"a-{number}")) for number in range(2)]
    exporter(uri, artifacts=False).export(runs, None)
    exporter(uri, artifacts=False, experiment="given").export(runs[:1], None)
    client = MlflowClient(tracking_uri=uri)
    found = {
        experiment.name: sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id]))
        for experiment in client.search_experiments()
    }
    assert found == {"Default": [], "from the environment": ["a-0", "a-1"], "given": ["a-0"]}


def test_a_failed_run_is_failed_there_too(uri: str, tmp_path: Path) -> None:
    changes = {
        "status": "failed", "metrics": [], "latency": None, "throughput": None,
        "error": {"type": "ModelError", "message": "it broke", "hint": None},
    }  # fmt: skip
    exporter(uri, artifacts=False).export([Run(write_run(tmp_path / "runs", **changes))], None)
    client = MlflowClient(tracking_uri=uri)
    (stored,) = client.search_runs([client.get_experiment_by_name("mlms").experiment_id])
    assert stored.info.status == "FAILED"
    assert stored.data.metrics == {}


def test_a_run_whose_files_are_refused_is_not_left_half(uri: str, tmp_path: Path) -> None:
    (tmp_path / "mlruns").touch()  # where this store's artifacts would go
    with pytest.raises(StorageError, match="MLflow at sqlite"):
        exporter(uri).export([Run(write_run(tmp_path / "runs"))], None)
    client = MlflowClient(tracking_uri=uri)
    assert client.search_runs([client.get_experiment_by_name("mlms").experiment_id]) == []


def test_no_store_is_named() -> None:
    with pytest.raises(InputError, match="no MLflow tracking store is named"):
        make({}, Context(labels=lambda name: ()))


def test_a_server_that_is_not_there_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = Run(write_run(tmp_path / "runs"))
    with pytest.raises(StorageError, match=r"MLflow at http://127\.0\.0\.1:9") as caught:
        exporter("http://user:secret@127.0.0.1:9").export([run], None)
    assert "secret" not in str(caught.value)


def test_names_and_values_that_mlflow_refuses_are_made_to_fit(uri: str, tmp_path: Path) -> None:
    metric = {"name": "f1:macro(±)", "value": 1, "unit": "", "samples": 1, "published": None}
    evaluation = {"name": "x", "seed": 0, "options": {"compile": {"mode": "m" * 9000}}}
    run = Run(write_run(tmp_path / "runs", metrics=[metric], evaluation=evaluation))
    exporter(uri, artifacts=False).export([run], None)
    client = MlflowClient(tracking_uri=uri)
    (stored,) = client.search_runs([client.get_experiment_by_name("mlms").experiment_id])
    assert stored.data.metrics["f1_macro___"] == 1.0
    assert stored.data.params["options.compile.mode"] == "m" * 500


def test_resources_are_metrics_and_flags_are_not(tmp_path: Path) -> None:
    resources = {"peak_rss_bytes": 7, "energy_joules": None, "throttled": True}
    run = Run(write_run(tmp_path / "runs"))
    run.record["resources"] = resources
    found = content.metrics(run)
    assert found["resources.peak_rss_bytes"] == 7.0
    assert not {"resources.energy_joules", "resources.throttled"} & set(found)


def test_the_options_fit_the_schema() -> None:
    from mlms.manifests.schema import problems_against

    assert problems_against(OPTIONS, {"tracking_uri": "sqlite:///x", "artifacts": False}, path=None) == []
    assert len(problems_against(OPTIONS, {"artifacts": "no", "experimnt": "x"}, path=None)) == 2


def test_the_command_finds_the_plugin(uri: str, tmp_path: Path) -> None:
    if not any(point.value == "mlms_mlflow.plugin" for point in metadata.entry_points(group="mlms")):
        pytest.skip("the plugin is not installed")
    write_run(tmp_path / "runs")
    command = [sys.executable, "-m", "mlms", "export", "@last", "--runs", "runs", "--format", "mlflow"]
    done = subprocess.run([*command, "--set", f"tracking_uri={uri}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "MLflow run" in done.stdout
    refused = subprocess.run([*command, "--output", "x"], capture_output=True, text=True, timeout=120)
    assert refused.returncode == 2
    assert "no MLflow tracking store" in refused.stderr
