"""Each benchmark runs and ends as benchmarks do; whether its claims hold depends on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CLAIMS = {"startup": 4, "harness_overhead": 3, "tracing": 6, "loadgen_overhead": 3, "profilers": 2}
QUICK = ("startup", "harness_overhead", "tracing")
"""Those that measure for a while, and offer to measure little: the same steps, of which fewer are taken."""


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_benchmark_measures_every_claim(name: str) -> None:
    done = run(name, "--repeats", "1", *(["--quick"] if name in QUICK else []))
    assert done.stdout, done.stderr
    claims = [json.loads(line) for line in done.stdout.rpartition("\n\n")[2].splitlines()]
    assert len(claims) == CLAIMS[name], done.stdout
    for claim in claims:
        assert list(claim) == ["claim", "value", "goal", "holds"]
        assert isinstance(claim["value"], int | float)
        assert claim["holds"] is (claim["value"] <= claim["goal"])
        assert claim["claim"] in done.stdout.partition("HOLDS")[2].partition("\n\n")[0]
    assert done.returncode == (0 if all(claim["holds"] for claim in claims) else 1), done.stderr


@pytest.mark.parametrize("name", CLAIMS)
def test_benchmark_explains_itself(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0
    assert "--repeats N" in done.stdout


def test_benchmark_refuses_no_repeats() -> None:
    done = run("startup", "--repeats", "0")
    assert done.returncode == 2
    assert "1 or more is needed" in done.stderr
