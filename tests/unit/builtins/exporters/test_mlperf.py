import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.exported import FAILED, changed, exported, opened, write_loadgen_logs
from mlms import api
from mlms.builtins.exporters.mlperf import OPTIONS
from mlms.builtins.exporters.mlperf_conf import user_conf
from mlms.builtins.exporters.mlperf_readme import manifest
from mlms.builtins.exporters.mlperf_system import FIELDS, UNKNOWN
from mlms.errors import InputError, Place, StorageError
from mlms.manifests.digest import evaluation_data
from mlms.manifests.schema import problems_against, problems_in

SYSTEM = "A-CPU-cdcdcdcd"
PLACE = f"open/ACME/results/{SYSTEM}/digits-cnn/SingleStream"


def files(target: Path) -> dict[str, Path]:
    return {str(path.relative_to(target)): path for path in sorted(target.rglob("*")) if path.is_file()}


def test_every_file_of_a_performance_run(tmp_path: Path) -> None:
    run = opened(tmp_path / "runs")
    write_loadgen_logs(run)
    said = exported("mlperf", run, target=tmp_path, submitter="ACME", facts={"cooling": "air"})
    assert said == "runs: 1, systems: 1"
    found = files(tmp_path / "open")
    assert set(found) == {
        str(Path(name).relative_to("open"))
        for name in (
            f"open/ACME/systems/{SYSTEM}.json",
            f"{PLACE}/README.md",
            f"{PLACE}/measurements.json",
            f"{PLACE}/user.conf",
            f"{PLACE}/performance/run_1/mlperf_log_detail.txt",
            f"{PLACE}/performance/run_1/mlperf_log_summary.txt",
        )
    }
    for log in ("mlperf_log_detail.txt", "mlperf_log_summary.txt"):
        copied = tmp_path / PLACE / "performance/run_1" / log
        assert copied.read_bytes() == (run.path / "loadgen" / log).read_bytes()


def test_the_system_says_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    run = opened(tmp_path / "runs")
    write_loadgen_logs(run)
    exported("mlperf", run, target=tmp_path, submitter="ACME", facts={"cooling": "air", "number_of_nodes": 2})
    system = json.loads((tmp_path / f"open/ACME/systems/{SYSTEM}.json").read_text("utf-8"))
    assert tuple(system) == FIELDS
    assert system["submitter"] == "ACME"
    assert system["division"] == "open"
    assert system["host_processor_model_name"] == "A CPU"
    assert system["host_memory_capacity"] == "24 GiB"
    assert system["accelerators_per_node"] == "0"
    assert system["accelerator_model_name"].startswith("N/A")
    assert system["framework"] == "torch 2.15.0"
    assert system["operating_system"] == "Debian GNU/Linux 12 Linux 6.1.0"
    assert system["cooling"] == "air"
    assert system["number_of_nodes"] == 2
    assert system["status"] == system["host_networking"] == system["host_processors_per_node"] == UNKNOWN


def test_a_gpu_is_the_one_that_was_used(tmp_path: Path) -> None:
    gpus = [{"name": "First", "memory_bytes": 1 << 34, "driver": "1"}, {"name": "GPU 2", "memory_bytes": 1 << 35}]
    model = changed("model", describe={"device": "cuda:1", "dtype": "float16"})
    run = opened(tmp_path / "runs", **model, **changed("environment", gpus=gpus))
    write_loadgen_logs(run)
    exported("mlperf", run, target=tmp_path)
    (path,) = (tmp_path / "open/unknown/systems").iterdir()
    system = json.loads(path.read_text("utf-8"))
    assert path.name == "GPU-2-cdcdcdcd.json"
    assert system["accelerator_model_name"] == "GPU 2"
    assert (system["accelerators_per_node"], system["accelerator_memory_capacity"]) == ("1", "32 GiB")
    assert system["accelerator_interconnect"] == UNKNOWN
    variables = {"CUDA_VISIBLE_DEVICES": "1,0"}
    for framework, name in ({"gpus": gpus[::-1]}, "First"), ({}, "cuda:1"):
        seen = changed("environment", gpus=gpus, variables=variables) | changed("framework", describe=framework)
        run = opened(tmp_path / name / "runs", **model, **seen)
        write_loadgen_logs(run)
        exported("mlperf", run, target=tmp_path / name)
        (path,) = (tmp_path / name / "open/unknown/systems").iterdir()
        assert json.loads(path.read_text("utf-8"))["accelerator_model_name"] == name


def test_the_settings_are_those_that_loadgen_logged(tmp_path: Path) -> None:
    run = opened(tmp_path / "runs")
    write_loadgen_logs(run)
    exported("mlperf", run, target=tmp_path, submitter="ACME")
    assert (tmp_path / PLACE / "user.conf").read_text("utf-8").splitlines()[1:] == [
        "*.SingleStream.target_latency = 0.070189",
        "*.SingleStream.target_latency_percentile = 90",
        "*.SingleStream.min_duration = 2000",
        "*.SingleStream.max_duration = 60000",
        "*.SingleStream.min_query_count = 100",
        "*.SingleStream.qsl_rng_seed = 2968811710",
    ]


def test_each_scenario_has_its_settings() -> None:
    used = {"effective_target_qps": 2000.0, "effective_target_latency_ns": 15_000_000, "effective_samples_per_query": 8}
    assert user_conf("Server", used).splitlines()[1:] == [
        "*.Server.target_latency = 15",
        "*.Server.target_qps = 2000",
    ]
    assert user_conf("MultiStream", used).splitlines()[1:] == ["*.MultiStream.samples_per_query = 8"]
    assert user_conf("Offline", used).splitlines()[1:] == ["*.Offline.target_qps = 2000"]


def test_measurements_and_readme(tmp_path: Path) -> None:
    run = opened(tmp_path / "runs", **changed("scenario", valid=False, problems=["too short: run 10 s"]))
    write_loadgen_logs(run, valid=False)
    exported("mlperf", run, target=tmp_path, submitter="ACME")
    measurements = json.loads((tmp_path / PLACE / "measurements.json").read_text("utf-8"))
    assert set(measurements) == {
        "starting_weights_filename",
        "weight_transformations",
        "weight_data_types",
        "input_data_types",
        "retraining",
    }
    assert all(measurements.values())
    readme = (tmp_path / PLACE / "README.md").read_text("utf-8")
    assert "**Not valid by MLPerf's rules:** too short: run 10 s" in readme
    again = yaml.safe_load(readme.split("```yaml")[1].split("```")[0])
    assert again == manifest(run)
    assert problems_in(again, lambda pointer, key: Place("manifest"), "manifest") == []
    assert "/" not in json.dumps(again)  # no path of the machine that measured


def test_an_accuracy_run_lies_in_its_own_place(tmp_path: Path) -> None:
    run = opened(tmp_path / "runs")
    run.record["scenario"]["mode"] = "accuracy"
    write_loadgen_logs(run)
    exported("mlperf", run, target=tmp_path, submitter="ACME")
    found = files(tmp_path / PLACE)
    assert {name for name in found if name.startswith("accuracy/")} == {
        "accuracy/accuracy.txt",
        "accuracy/mlperf_log_accuracy.json",
        "accuracy/mlperf_log_detail.txt",
        "accuracy/mlperf_log_summary.txt",
    }
    assert {"README.md", "measurements.json", "user.conf"} <= set(found)
    assert found["accuracy/accuracy.txt"].read_text("utf-8").splitlines() == ["top1=98.8889%", "top5=100.0%"]


def test_what_can_not_be_exported_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    run = opened(tmp_path / "runs", "a")
    with pytest.raises(StorageError, match=r"run a is without LoadGen's mlperf_log_summary\.txt"):
        exported("mlperf", run, target=target)
    with pytest.raises(InputError, match="run b did not finish"):
        exported("mlperf", opened(tmp_path / "runs", "b", **FAILED), target=target)
    write_loadgen_logs(run)
    same = opened(tmp_path / "runs", "c")
    write_loadgen_logs(same)
    with pytest.raises(InputError, match="runs a and c would both be open/unknown/results"):
        exported("mlperf", run, same, target=target)
    other = opened(
        tmp_path / "runs", "d", **changed("environment", fingerprint="ef" * 32), **changed("model", name="e")
    )
    write_loadgen_logs(other)
    with pytest.raises(InputError, match="runs a and d were made on different systems"):
        exported("mlperf", run, other, target=target, system="box")
    assert not target.exists()


def test_options_are_checked() -> None:
    good = {"submitter": "ACME", "division": "closed", "system": "box", "facts": {"cooling": "air"}}
    assert problems_against(OPTIONS, good, path=None) == []
    for bad in ({"submitter": "../x"}, {"division": "wide"}, {"facts": {"coolin": "air"}}, {"systems": "x"}):
        assert len(problems_against(OPTIONS, bad, path=None)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "scenario": {
                "type": "single_stream",
                "min_query_count": 100,
                "target_latency": "15ms",
                "seeds": {"qsl_rng_seed": 7},
            }
        },
        {"scenario": {"type": "multi_stream", "samples_per_query": 4}, "batch_size": 2},
        {"scenario": {"type": "server", "target_qps": 50, "target_latency": "100ms"}},
        {
            "scenario": {
                "type": "server",
                "target_qps": 50,
                "target_latency": "100ms",
                "workers": 2,
                "dynamic_batching": {"max_batch": 4, "max_queue_delay": "5ms"},
            }
        },
        {"scenario": {"type": "offline", "offline_expected_qps": 1000, "mode": "accuracy"}, "batch_size": 32},
        {"profile": "mlperf", "isolation": "process", "timeout": "10m", "gc": "enabled"},
        {"weights": {"random": {"seed": 3}}, "dataset": "synthetic", "limit": 20, "threads": 1, "seed": 5, "warmup": 3},
    ],
)
def test_the_readmes_manifest_plans_the_same_evaluation(changes: dict[str, Any], tmp_path: Path) -> None:
    wanted = {"kind": "manifest", "name": "any", "model": "digits-cnn", "dataset": "digits-test", "device": "cpu"}
    (evaluation,) = api.plan({**wanted, **changes}).evaluations
    run = opened(tmp_path, evaluation=evaluation_data(evaluation))
    if evaluation.model.source.weights.random:
        run.record["model"]["weights"] |= {"origin": "random", "seed": evaluation.model.source.weights.seed}
    (again,) = api.plan(manifest(run)).evaluations
    assert again.digest == evaluation.digest
    assert again.execution == evaluation.execution
