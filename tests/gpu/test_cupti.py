"""GPU work in the trace of a real model on a real GPU: `pytest -m gpu tests/gpu`. Needs pycupti, torch, torchvision."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(400)]
CASES = Path(__file__).resolve().parent / "cases.py"


@pytest.fixture(scope="session", autouse=True)
def _a_gpu() -> None:
    pycupti = pytest.importorskip("pycupti", reason="pycupti isn't installed")
    if not hasattr(pycupti, "probe"):
        pytest.skip("pycupti isn't installed")
    found = pycupti.probe()
    if found.problem:
        pytest.skip(f"{found.problem} ({found.hint})")


def run(case: str, **arguments: Any) -> dict[str, Any]:
    """Run a case in a fresh process and print its facts."""
    command = [sys.executable, str(CASES), case, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(case, arguments, json.dumps(facts))
    return facts


def holds(facts: dict[str, Any]) -> None:
    assert facts["notes"] == []
    assert facts["orphans"] == 0
    assert facts["attributed"] >= 0.999
    assert facts["parents_ns"] == facts["total_ns"]
    # Layers that Kineto recorded were moved into our clock, prediction by prediction.
    assert facts["worst_outside_ns"] < (1_000_000 if "operator" in facts["levels"] else 1)


@pytest.mark.parametrize("level", ["layer", "library"])
@pytest.mark.parametrize("batch", [1, 64])
def test_kernels_lie_below_their_layers(level: str, batch: int) -> None:
    facts = run("traced", level=level, batch=batch, predictions=10)
    holds(facts)
    assert facts["parents"]["layer"] / facts["kernels"] > 0.9
    assert facts["layers"] >= 100
    assert {"memcpy HtoD", "memcpy DtoH"} <= facts["copies"].keys()
    assert None not in facts["launched_by"]


def test_compiled_kernels_lie_below_the_forward() -> None:
    facts = run("traced", level="layer", batch=1, predictions=10, compile=True)
    holds(facts)
    assert facts["parents"].keys() == {"framework"}


def test_kernels_of_a_cuda_graph_lie_below_the_forward_that_launched_it() -> None:
    facts = run("traced", level="layer", batch=1, predictions=10, compile={"mode": "reduce-overhead"})
    holds(facts)
    assert facts["launched_by"].get("cuGraphLaunch", 0) / facts["kernels"] > 0.9
    assert facts["calls"]["cuGraphLaunch"] == 10
    assert facts["parents"].keys() == {"framework"}


def test_counters_reach_every_kernel() -> None:
    facts = run("traced", level="layer", batch=8, predictions=5, counters=True)
    holds(facts)
    assert facts["counted"] == facts["kernels"]
    # Convolutions as the hardware did them: padded to tiles, or with fewer multiplications.
    assert 0.5 < facts["flops"] / facts["analytic_flops"] < 2
