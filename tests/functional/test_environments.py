"""Frameworks in environments of their own, as a user runs them: really built, with workers that die and hang."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import mlms as package
from fakes.program import mlms
from fakes.served import served_plugin, write_framework, write_model
from mlms import api
from mlms.environments.interpreters import running_version
from mlms.errors import ProcessError
from mlms.runs.run import Run

VENV = {"isolation": "venv", "requirements": ["numpy"]}
QUICK = {"type": "single_stream", "min_query_count": 20, "min_duration": 0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def assets(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a framework in an environment and one where mlms runs; environments are built once a module."""
    monkeypatch.setenv("MLMS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "own-assets"
    write_framework(folder, "apart", VENV)
    write_framework(folder, "here", {"isolation": "in_process"})
    write_model(folder, "linear-apart", "apart")
    write_model(folder, "linear-here", "here")
    with served_plugin(tmp_path / "site"):
        yield folder


def manifest(models: list[str], **rest: Any) -> dict[str, Any]:
    return {
        "kind": "manifest",
        "name": "m",
        "models": models,
        "dataset": "digits-test",
        "scenario": QUICK,
        "warmup": 2,
        "device": "cpu",
        "limit": 40,
        **rest,
    }


def written(document: dict[str, Any]) -> Path:
    path = Path("manifest.yaml")
    path.write_text(json.dumps(document))
    return path


def test_one_manifest_runs_a_framework_here_and_apart(assets: Path) -> None:
    results = package.evaluate(manifest(["linear-here", "linear-apart"], trace={"level": "layer"}), assets=[assets])
    here, apart = results.raise_for_failures()
    about = apart.record["framework"]["describe"]["environment"]
    assert about["name"].startswith("apart-")
    assert about["python"] == running_version()
    assert apart.record["framework"]["installed"] == about["packages"]["numpy"]
    assert "environment" not in here.record["framework"]["describe"]
    assert apart.spans.filter(apart.spans["name"] == "worker").height == 22
    assert apart.spans.filter(apart.spans["level"] == "layer").height == 44
    assert apart.record["resources"]["peak_rss_bytes"] > here.record["resources"]["peak_rss_bytes"] * 0.5
    assert here.record["evaluation"]["digest"] != apart.record["evaluation"]["digest"]


def test_what_a_worker_takes_is_the_runs(assets: Path) -> None:
    """Its processor time, memory and counters are those of a run in one process, where a model is what takes them."""
    write_model(assets, "large", "apart", input=[{"name": "image", "dtype": "float32", "shape": [3000, 1000]}])
    document = manifest(["large"], dataset="synthetic", profilers=["host"], limit=4)
    (run,) = package.evaluate(document, assets=[assets]).raise_for_failures()
    matrix_bytes = 3_000_000 * 10 * 4
    assert run.record["resources"]["peak_rss_bytes"] > matrix_bytes
    assert run.record["resources"]["cpu_seconds"] > 0
    memory = run.counters.filter(run.counters["name"] == "process.memory.usage")["value"]
    assert memory.min() > matrix_bytes
    assert psutil.Process().memory_info().rss != memory.max()


def test_environments_are_made_listed_and_removed(assets: Path) -> None:
    made = mlms("env", "create", "apart", "--assets", assets, "--json")
    assert made.code == 0, made.err
    (row,) = made.data
    assert row["packages"]["numpy"]
    assert row["size_bytes"] > 1e6
    assert row["frameworks"] == ["apart"]
    assert row["name"] in mlms("env", "list").out
    (listed,) = mlms("env", "list", "--assets", assets, "--json").data
    assert listed == row
    assert [each["name"] for each in mlms("env", "list", "--json").data] == [row["name"]]
    refused = mlms("env", "create", "here", "--assets", assets)
    assert refused.code == 2
    assert "'here' runs where mlms does" in refused.err
    assert mlms("env", "remove", "apart", "--json").data == [row["name"]]
    assert mlms("env", "list").err.startswith("there are no environments")
    assert mlms("env", "remove", "apart").code == 2


def test_agree_compares_sample_by_sample(assets: Path) -> None:
    write_model(assets, "other", "here", source={"weights": {"random": {"seed": 1}}})
    same = mlms("agree", written(manifest(["linear-here", "linear-apart"])), "--assets", assets, "--json")
    assert same.code == 0, same.err
    assert same.data["agrees"]
    assert same.data["samples"] == 40
    (output,) = same.data["models"][0]["outputs"]
    assert output["max_abs"] < 1e-5
    assert output["top1"] == 1.0
    differing = mlms("agree", written(manifest(["linear-here", "linear-apart", "other"])), "--assets", assets)
    assert differing.code == 1
    assert "differs most in" in differing.out
    assert "linear-apart" in differing.out
    by_name = api.agree(manifest(["linear-here", "other"]), reference="other", assets=[assets], atol=1e9)
    assert by_name.reference == "other"
    assert by_name.agrees
    unknown = mlms("agree", written(manifest(["linear-here", "other"])), "--reference", "othr", "--assets", assets)
    assert unknown.code == 2
    assert "did you mean 'other'" in unknown.err
    alone = mlms("agree", written(manifest(["linear-here"])), "--assets", assets)
    assert alone.code == 2
    assert "only evaluation" in alone.err


def test_agree_goes_on_past_a_model_that_fails(assets: Path) -> None:
    write_model(assets, "failing", "apart", options={"fail_at": 1, "fail": "die"})
    ended = mlms("agree", written(manifest(["linear-here", "failing", "linear-apart"])), "--assets", assets)
    assert ended.code == 1
    assert "was ended" in ended.out
    assert "agrees" in ended.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"load": "refuse"}, "the file is none of ours"),
        ({"load": "die"}, "was ended by SIGKILL while it was to load"),
        ({"fail_at": 5, "fail": "die"}, "was ended by SIGKILL while it was to predict"),
        ({"fail_at": 5, "fail": "raise"}, "RuntimeError: the runtime gave up"),
        ({"fail_at": 5, "fail": "hang"}, "gave no answer to 'predict' within 2 s and was killed"),
    ],
)
def test_a_failure_is_named_and_the_sweep_goes_on(assets: Path, options: dict[str, Any], words: str) -> None:
    write_framework(assets, "apart", {**VENV, "answer_timeout": "2s"})
    write_model(assets, "failing", "apart", options=options)
    results = package.evaluate(manifest(["linear-apart", "failing", "linear-here"]), assets=[assets])
    assert [outcome.error is None for outcome in results.outcomes] == [True, False, True]
    assert words in str(results.outcomes[1].error)
    if "load" not in options or options["load"] == "die":
        assert "framework 'served' (environment apart-" in str(results.outcomes[1].error)
    assert all((run.path / "run.json").is_file() for run in results)


def test_requirements_that_cannot_be_met_fail_that_evaluation_alone(assets: Path) -> None:
    write_framework(assets, "impossible", {"isolation": "venv", "requirements": ["numpy<0.1"]})
    write_model(assets, "failing", "impossible")
    results = package.evaluate(manifest(["failing", "linear-apart"]), assets=[assets])
    assert "environment of framework 'impossible' can't be built" in str(results.outcomes[0].error)
    assert results.outcomes[1].error is None


def test_bad_environments_are_found_in_the_file(assets: Path) -> None:
    path = assets / "frameworks" / "bad.yaml"
    path.write_text(
        "kind: framework\nname: bad\ncomponent: served\ndistribution: numpy\n"
        "environment:\n  isolation: venv\n  python: '2.7'\n  requirments: [numpy]\n"
    )
    ended = mlms("validate", path)
    assert ended.code == 2
    assert f"{path.name}:7:" in ended.err
    assert "did you mean 'requirements'?" in ended.err
    path.write_text(
        "kind: framework\nname: bad\ncomponent: served\ndistribution: numpy\n"
        "environment: {isolation: venv, requirements: ['--index-url=http://example.org', 'x @ http://example.org/x']}\n"
    )
    ended = mlms("validate", path)
    assert ended.code == 2
    assert ended.err.count("doesn't have the right form") == 2


def test_requirements_where_mlms_runs_are_held_against_what_is_installed(assets: Path) -> None:
    write_framework(assets, "here", {"isolation": "in_process", "requirements": ["numpy>=99"]})
    (outcome,) = package.evaluate(manifest(["linear-here"]), assets=[assets]).outcomes
    assert "framework 'here' requires numpy>=99, but" in str(outcome.error)
    assert "pip install" in str(outcome.error)
    write_framework(assets, "here", {"isolation": "in_process", "requirements": ["numpy=1"]})
    ended = mlms("validate", assets / "frameworks" / "here.yaml")
    assert ended.code == 2
    assert "'numpy=1' is no requirement" in ended.err
    assert "numpy>=1.24" in ended.err


KILLS = 50


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killing_workers_at_random_moments_loses_nothing_that_was_finished(assets: Path) -> None:
    """Fifty evaluations in a row lose their workers, at moments that are random over an evaluation and a bit beyond."""
    chance = random.Random(7)
    (first,) = api.evaluate(manifest(["linear-apart"]), assets=[assets])  # builds the environment
    took = sum(step["seconds"] for step in first.record["steps"])
    outcomes = []
    killer = Killer(chance.uniform(0, 1.3 * took))
    document = manifest(["linear-apart"], matrix={"seed": list(range(KILLS + 1))}, trace={"level": "none"})
    for outcome in api.run_evaluations(document, assets=[assets]):
        outcomes.append((outcome, killer.stop()))
        killer = Killer(chance.uniform(0, 1.3 * took) if len(outcomes) < KILLS else None)
    assert len(outcomes) == KILLS + 1
    assert outcomes[-1][0].error is None, "a fresh worker for the next one"
    failed = [(outcome, killed) for outcome, killed in outcomes if outcome.error is not None]
    assert len(failed) >= KILLS / 4
    for outcome, killed in failed:
        assert killed, f"nobody killed this one: {outcome.error}"
        assert isinstance(outcome.error, ProcessError)
    finished = [outcome.run for outcome, _ in outcomes if outcome.run is not None]
    assert len(finished) >= KILLS / 10
    for path in finished:
        assert Run(path).latencies.height >= 20
        assert Run(path).record["scenario"]["valid"] is not None
    there = [path for path in Path("runs").iterdir() if (path / "run.json").is_file()]
    assert sorted(path.name for path in there) == sorted(path.name for path in [*finished, first.path])


class Killer:
    """Kills the worker that there is after a delay, once one is there."""

    def __init__(self, delay: float | None) -> None:
        self._killed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._kill, args=(delay,))
        if delay is not None:
            self._thread.start()

    def stop(self) -> bool:
        """Whether it has killed."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        return self._killed

    def _kill(self, delay: float) -> None:
        self._stop.wait(delay)
        while not self._stop.wait(0.01) and not self._killed:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    if any("serving/worker" in word for word in child.cmdline()):
                        self._killed = True
                        os.kill(child.pid, signal.SIGKILL)


def old_python() -> Path | None:
    from mlms.environments.interpreters import find_python
    from mlms.errors import InputError

    try:
        return find_python("3.6")
    except InputError:
        return None


@pytest.mark.slow
def test_a_worker_runs_in_python_3_6(assets: Path) -> None:
    if old_python() is None:
        pytest.skip("there is no Python 3.6 on this machine")
    write_framework(assets, "old", {**VENV, "python": "3.6"})
    write_model(assets, "linear-old", "old")
    found = api.agree(manifest(["linear-here", "linear-old"]), assets=[assets])
    assert found.agrees, found.data
    (run,) = package.evaluate(manifest(["linear-old"], trace={"level": "layer"}), assets=[assets]).raise_for_failures()
    assert run.record["framework"]["describe"]["python"] == "3.6"
    assert run.spans.filter(run.spans["level"] == "layer").height == 44


def test_the_worker_is_valid_python_3_6() -> None:
    """Where no such Python is there to run it, its grammar is checked."""
    import ast

    from mlms.serving.process import WORKER

    for path in WORKER.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 6))
    assert subprocess.run([sys.executable, "-I", str(WORKER)], capture_output=True, check=False).returncode == 1
