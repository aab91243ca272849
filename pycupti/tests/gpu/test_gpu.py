"""Everything that only a real GPU can show: `pytest -m gpu`. Needs PyTorch and torchvision; each case is a process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pycupti

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(400)]
CASES = Path(__file__).resolve().parent / "cases.py"


def run(case: str, **arguments: Any) -> dict[str, Any]:
    """Run a case in a fresh process and print its facts."""
    done = subprocess.run(
        [sys.executable, str(CASES), case, json.dumps(arguments)], capture_output=True, text=True, timeout=380
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(case, arguments, json.dumps({k: v for k, v in facts.items() if k != "kernels" or not isinstance(v, dict)}))
    return facts


@pytest.fixture(scope="session", autouse=True)
def a_gpu() -> None:
    found = pycupti.probe()
    if found.problem:
        pytest.skip(f"{found.problem} ({found.hint})")


@pytest.mark.parametrize("batch", [1, 64])
def test_kernels_and_copies_are_those_of_torch_profiler(batch):
    ours, theirs = (run(case, batch=batch, steps=10) for case in ("counts_pycupti", "counts_torch"))
    assert ours["kernels"] == theirs["kernels"]
    assert ours["copies"] == theirs["copies"]
    assert ours["kernel_ns"] == pytest.approx(theirs["kernel_ns"], rel=0.01)
    assert ours["dropped"] == ours["bad_timestamps"] == 0


def test_eager_kernels_belong_to_their_layers():
    facts = run("layers", batch=1)
    assert facts["attributed"] >= 0.999
    assert facts["layers_ns"] == facts["total_ns"]
    assert facts["calls_outside"] == 0
    assert facts["after_api"] >= 0.999


def test_compiled_kernels_are_attributed():
    facts = run("compiled")
    assert facts["triton"] > 0
    assert facts["attributed"] >= 0.999


def test_a_graph_s_replays_belong_to_the_layers_captured():
    facts = run("graph", replays=100)
    assert facts["kernels"] == 100 * facts["nodes"] > 0
    assert facts["attributed"] >= 0.999
    assert facts["layers"] > 1


def test_a_million_kernels_give_a_million_records():
    facts = run("empty", count=1_000_000, max_buffers=64, buffer_mib=4)
    assert facts["kernels"] == 1_000_000
    assert facts["dropped"] == facts["rejected"] == 0


def test_two_buffers_lose_records_but_never_count_wrong():
    facts = run("empty", count=1_000_000, max_buffers=2, buffer_mib=0.0625)
    assert facts["kernels"] + facts["dropped"] == 1_000_000


def test_push_and_pop_cost_little():
    assert run("push_pop")["ns"] <= 1500


def test_torch_profiler_after_this_corrupts_neither():
    facts = run("conflict_first")
    assert facts["ours"] >= 200
    assert facts["theirs"] in (0, 100)


def test_this_after_torch_profiler_is_a_named_conflict():
    facts = run("conflict_second")
    assert "torch.profiler" in facts["error"]
    assert facts["theirs"] >= 100


@pytest.mark.parametrize("finalize", [False, True])
def test_fifty_cycles(finalize):
    assert run("cycles", count=50, finalize=finalize) == {"seen": [[10, 10]], "cycles": 50}


def test_counting_and_tracing_by_turns():
    assert run("turns") == {"traced": [1, 1, 1], "counted": [1, 1]}


def test_eight_threads_on_four_streams():
    facts = run("threads", count=8, streams=4)
    assert facts["per_span"] == [500] * 8
    assert facts["threads"] >= 8


def test_exit_without_stop():
    assert run("exit_without_stop")["running"]


def test_fork():
    assert run("fork") == {"status": 0, "kernels": 200}


def test_metrics_against_the_analytic_figures():
    facts = run("metrics", size=4096)
    for name in ("fp32", "tf32", "bf16", "fp16"):
        assert facts["ranges"][name]["flops"] == pytest.approx(facts["flops"], rel=0.05), name
    add = facts["ranges"]["add"]
    assert add["flops"] == pytest.approx(facts["added"], rel=0.05)
    for direction in ("read", "write"):
        assert add[f"dram__bytes_{direction}.sum"] == pytest.approx(facts["copied_bytes"], rel=0.05)
    by_kernel = sum(values["flops"] for _, values in facts["kernels"])
    assert by_kernel == pytest.approx(sum(values["flops"] for values in facts["ranges"].values()), rel=0.01)


@pytest.mark.skipif(shutil.which("ncu") is None, reason="ncu isn't installed")
def test_metrics_against_ncu():
    name = "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum"
    command = ["ncu", "--clock-control", "none", "--csv", "--print-units", "base", "--metrics", name]
    target = [sys.executable, str(CASES), "ncu_target", json.dumps({"size": 4096})]
    done = subprocess.run([*command, *target], capture_output=True, text=True, timeout=380)
    rows = [line.split('","') for line in done.stdout.splitlines() if name in line]
    assert rows, done.stdout[-2000:] + done.stderr[-2000:]
    theirs = max(float(row[-1].strip('"').replace(",", "")) for row in rows)
    ours = run("metrics", size=4096)["ranges"]["fp32"][name]
    print("ncu", theirs, "ours", ours)
    assert ours == pytest.approx(theirs, rel=0.05)
