"""Ctrl-C leaves finished runs whole and no others."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from fakes.distributions import search_path
from fakes.manifests import QUICK, judge, manifest
from fakes.program import command

LONG = {"min_duration": "8s", "max_duration": "30s"}


def interrupted(
    path: Path, site: Path, settle: float, sent: signal.Signals = signal.SIGINT
) -> subprocess.CompletedProcess[str]:
    """Run a manifest, and press Ctrl-C ``settle`` seconds after LoadGen has begun on the second evaluation."""
    process = subprocess.Popen(
        command("eval", path, "--output", "runs"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": search_path(site)},
    )
    deadline = time.monotonic() + 60
    while not (list(Path("runs").glob("[!.]*/run.json")) and list(Path("runs").glob(".*.partial/loadgen/*"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never began to measure"
        time.sleep(0.02)
    time.sleep(settle)
    process.send_signal(sent)
    out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize(
    ("scenario", "sleep", "settle", "sent"),
    [
        ("single_stream", 0.0, 0.3, signal.SIGINT),
        ("single_stream", 0.1, 0.05, signal.SIGINT),
        ("single_stream", 0.1, 0.05, signal.SIGTERM),
        ("offline", 0.0, 0.3, signal.SIGINT),
    ],
    ids=["between predictions", "within a prediction", "terminated", "offline"],
)
def test_an_interrupted_sweep_keeps_what_is_finished(
    acme: Path, scenario: str, sleep: float, settle: float, sent: signal.Signals
) -> None:
    scenarios = [{"type": scenario}, {"type": scenario, **LONG}]
    models = [judge(arguments={"sleep": sleep})]
    path = manifest(models=models, matrix={"scenario": scenarios}, limit=20, metrics=["mistakes"])
    ended = interrupted(path, acme, settle, sent)
    assert ended.returncode == 130, ended.stderr
    assert "interrupted; finished runs are kept" in ended.stderr
    assert "Traceback" not in ended.stderr
    (kept,) = Path("runs").iterdir()
    assert (kept / "run.json").is_file()
    assert (kept / "report.html").is_file()
    assert kept.name in ended.stdout


def test_a_second_interrupt_ends_a_model_that_does_not_come_back(acme: Path) -> None:
    path = manifest(models=[judge("stuck", arguments={"sleep": 300.0})], warmup=0, scenario={**QUICK, **LONG})
    process = subprocess.Popen(
        command("eval", path, "--output", "runs"),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": search_path(acme)},
    )
    deadline = time.monotonic() + 60
    while not list(Path("runs").glob(".*.partial/loadgen/*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the prediction"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert list(Path("runs").iterdir()) == []
