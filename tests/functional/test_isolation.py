"""Evaluations in processes of their own: failures, resumption, repeats, interruption."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.tiny import environment, loaded, mlms, write_manifest

SWEEP = "matrix: {seed: [0, 1, 2, 3, 4, 5, 6]}\n"


@pytest.mark.slow
def test_a_sweep_outlives_what_happens_to_its_evaluations(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, SWEEP)
    trouble = {1: "kill", 3: "hang", 5: "raise"}
    command = ("eval", manifest, "--isolation", "process", "--timeout", "10s", "--json")
    first = mlms(*command, folder=tmp_path, trouble=trouble, log=tmp_path / "first")
    assert first.returncode == 1, first.stderr
    entries = json.loads(first.stdout)
    runs = [entry for entry in entries if entry["kind"] == "run"]
    failures = {entry["name"]: entry["error"] for entry in entries if entry["kind"] == "failure"}
    assert len(runs) == 4
    assert list(failures) == ["adder[seed=1]", "adder[seed=3]", "adder[seed=5]"]
    assert "'adder[seed=1]' was ended by SIGKILL (Killed), while measuring" in failures["adder[seed=1]"]
    assert "'adder[seed=3]' did not end within its timeout of 10 s and was killed, while" in failures["adder[seed=3]"]
    assert "model 'adder' failed to predict: ValueError: the numbers don't add up" in failures["adder[seed=5]"]
    assert [run["metrics"][0]["value"] for run in runs] == [100.0] * 4
    assert {run["isolation"] for run in runs} == {"process"}
    assert not any(run["framework"]["describe"]["torch_imported"] for run in runs)
    taken = runs[0]["resources"]
    assert (taken["flops_per_sample"], taken["model_bytes"], taken["parameters"]) == (2, 12, 3)
    assert taken["arithmetic_intensity"] == 2 / (12 + 12 + 4)  # operations by bytes of model, input and output
    assert 0 < taken["cpu_seconds"] < 5 < taken["peak_rss_bytes"] / 2**20 < 500
    assert runs[0]["environment"]["hygiene"]["gc"] == {"mode": "disabled", "collections": 0, "paused_ns": 0}
    processes = [(process, parent) for _, process, parent in loaded(tmp_path / "first")]
    assert len({process for process, _ in processes}) == 7
    assert len({parent for _, parent in processes}) == 1
    assert [path.name for path in (tmp_path / "runs").glob(".*")] == []
    assert "loading a tiny model" in first.stderr  # a model's own words are kept off standard output

    second = mlms(*command, "--resume", folder=tmp_path, log=tmp_path / "second")
    assert second.returncode == 0, second.stderr
    assert [seed for seed, _, _ in loaded(tmp_path / "second")] == [1, 3, 5]
    assert [entry["name"] for entry in json.loads(second.stdout) if not entry["resumed"]] == list(failures)
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 7


def test_every_end_is_named(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "isolation: process\nmatrix: {seed: [0, 1, 2]}\n")
    result = mlms("eval", manifest, "--json", folder=tmp_path, trouble={0: "crash", 1: "exit", 2: "device"})
    assert result.returncode == 1
    crashed, left, refused = json.loads(result.stdout)
    assert "'adder[seed=0]' was ended by SIGSEGV (Segmentation fault), while measuring" in crashed["error"]
    assert "'adder[seed=1]' exited with code 3 and without a result, while measuring" in left["error"]
    assert refused["error"] == "there is no tiny device\n  hint: buy one"
    assert [entry["exit_code"] for entry in (crashed, left, refused)] == [1, 1, 2]
    assert list((tmp_path / "runs").glob(".*")) == []
    logs = [(tmp_path / entry["log"]).read_text() if entry["log"] else None for entry in (crashed, left, refused)]
    assert [log and log.rstrip().endswith("measure") for log in logs] == [True, True, None]


def test_what_a_model_prints_does_not_mix_with_results_without_a_process_of_its_own_either(tmp_path: Path) -> None:
    result = mlms("eval", write_manifest(tmp_path), "--json", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = json.loads(result.stdout)
    assert run["isolation"] == "none"
    assert "loading a tiny model" in result.stderr


def test_ctrl_c_ends_the_child_and_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started("--isolation", "process", folder=tmp_path, trouble="hang", log=log) as parent:
        eventually(lambda: log.exists() and log.read_text().endswith("\n"))
        time.sleep(0.2)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(20) == 130
    ((_, child, _),) = loaded(log)
    assert not is_alive(child)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_child_does_not_outlive_its_parent_and_what_it_left_is_swept_away(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started("--isolation", "process", folder=tmp_path, trouble="hang", log=log) as parent:
        eventually(lambda: log.exists() and log.read_text().endswith("\n"))
        parent.kill()
        parent.wait(20)
    ((_, child, _),) = loaded(log)
    eventually(lambda: not is_alive(child))
    (left,) = (tmp_path / "runs").glob(".*.partial")
    assert mlms("eval", "tiny.yaml", "--quiet", folder=tmp_path).returncode == 0
    assert not left.exists()


def test_repeats_are_runs_of_their_own_and_go_round_when_interleaved(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "matrix: {seed: [1, 2]}\nrepeat: 2\ncold_start: 1\n")
    log = tmp_path / "log"
    first = mlms("eval", manifest, "--interleave", "--json", folder=tmp_path, log=log)
    assert first.returncode == 0, first.stderr
    seeds = [seed for seed, _, _ in loaded(log)]
    assert seeds == [1, 1, 2, 2, 1, 2]  # a cold start goes before the first run of each
    assert len({process for _, process, _ in loaded(log)}) == 6
    runs: list[dict[str, Any]] = json.loads(first.stdout)
    assert [(run["name"], run["repeat"]["index"], run["repeat"]["of"]) for run in runs] == [
        ("adder[seed=1]", 1, 2),
        ("adder[seed=2]", 1, 2),
        ("adder[seed=1]", 2, 2),
        ("adder[seed=2]", 2, 2),
    ]
    assert all(run["repeat"]["group"] == run["digest"] for run in runs)
    assert runs[0]["cold_start"] == runs[2]["cold_start"] != runs[1]["cold_start"]
    assert set(runs[0]["cold_start"]["median"]) == {"import_s", "load_s", "first_inference_s"}

    again = mlms("eval", manifest, "--repeat", "3", "--resume", "--json", folder=tmp_path, log=tmp_path / "again")
    assert again.returncode == 0, again.stderr
    resumed = [run["resumed"] for run in json.loads(again.stdout)]
    assert resumed == [True, True, False, True, True, False]


def test_a_timeout_without_a_process_to_kill_is_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "isolation: none\ntimeout: 1s\n")
    result = mlms("eval", manifest, folder=tmp_path)
    assert result.returncode == 2
    assert "tiny.yaml:9:12: 'timeout' can't go with 'isolation: none' at 'isolation'" in result.stderr


class started:
    """``mlms eval`` in the background; killed at the end if it still runs."""

    def __init__(self, *arguments: str, folder: Path, trouble: str, log: Path) -> None:
        command = [sys.executable, "-m", "mlms", "eval", str(write_manifest(folder)), "--quiet", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment({0: trouble}, log),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *failure: object) -> None:
        self.process.kill()
        self.process.wait()


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
