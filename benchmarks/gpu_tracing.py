"""What tracing a real model on a real GPU costs and shows: ResNet-50, batch 1 and 64, beside torch.profiler.

Each mode is a process of its own, and the modes take turns, round after round. Within a process blocks of forwards are
timed untraced and traced by turns (torch.profiler's first untraced, then traced: it leaves a cost behind), and each
traced one is compared with its untraced neighbours on both sides, so that a drift of the clocks cancels out; where
these differ from each other, a spell of the machine began or ended there, and the pair is set aside. Which
layer work is attributed to, and counters against analytic figures and ncu's, come from the cases of pycupti's GPU
tests. Where there is no GPU, it says that it wasn't run and exits 0.
"""

import argparse
import gc
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from claims import Claim, conclude, table

SEED = 7
WARM_UP_S = 3
QUIET = 1.1
ALIKE = 1.05
EDGE = 4
PHASE = 12
MODES = ("pycupti", "pycupti_layers", "finalized", "torch_cuda", "torch_all")
PROCESSES = {"finalized": 3}
CASES = Path(__file__).resolve().parent.parent / "pycupti" / "tests" / "gpu" / "cases.py"
FFMA = "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum"

Forward = Callable[[], None]


def forward_of(batch: int) -> tuple[Any, Any, Forward]:
    """Return torch, the model, and one synchronised forward of a warm ResNet-50."""
    import torch
    import torchvision

    torch.manual_seed(SEED)
    model = torchvision.models.resnet50(weights=None).eval().cuda()
    images = torch.randn(batch, 3, 224, 224, device="cuda")

    def forward() -> None:
        with torch.no_grad():
            model(images)
        torch.cuda.synchronize()

    began = time.perf_counter()
    while time.perf_counter() - began < WARM_UP_S:
        forward()
    gc.collect()
    gc.disable()  # a collection in one block and not in its neighbour is no cost of tracing
    return torch, model, forward


def block(forward: Forward, repeats: int) -> tuple[float, float]:
    """First decile and median of a forward's time, after a few that don't count; ns."""
    for _ in range(5):
        forward()
    times = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        forward()
        times.append(time.perf_counter_ns() - began)
    return quantiles(times, n=10)[0], median(times)


def usual(blocks: list[tuple[float, float]]) -> tuple[float, float]:
    """Medians over blocks."""
    return median(each[0] for each in blocks), median(each[1] for each in blocks)


def ratios(pairs: list[tuple[tuple[float, float], tuple[float, float]]], name: str) -> dict[str, float]:
    """Medians over pairs of blocks of the second's time over the first's."""
    return {
        f"{name}_{figure}": median(after[place] / before[place] for before, after in pairs)
        for place, figure in enumerate(("p10", "p50"))
    }


def alike(before: tuple[float, float], after: tuple[float, float]) -> bool:
    """Whether the untraced neighbours of a traced block differ little by themselves."""
    return max(before[0], after[0]) <= ALIKE * min(before[0], after[0])


def restlessness(untraced: list[tuple[float, float]]) -> dict[str, float]:
    """How much slower the slowest untraced block was than the fastest, by their first deciles."""
    times = [first_decile for first_decile, _ in untraced]
    return {"restless": max(times) / min(times)}


def with_spans(tracer: Any, model: Any) -> list[Any]:
    """Open a span around every module's call, as layer tracing does; returns the hooks."""
    push, pop = tracer.push, tracer.pop
    spans = iter(range(1, 1 << 40))
    hooks = []

    def before(*_: Any) -> None:  # a hook that returned push's code would replace the module's input
        push(next(spans))

    def after(*_: Any) -> None:
        pop()

    for module in model.modules():
        hooks.append(module.register_forward_pre_hook(before))
        hooks.append(module.register_forward_hook(after))
    return hooks


def kinds_of(pycupti: Any) -> list[Any]:
    """Return kernels, copies, memsets and the driver's calls."""
    Kind = pycupti.Kind
    return [Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET, Kind.DRIVER]


def run_pycupti(model: Any, forward: Forward, repeats: int, blocks: int, layers: bool) -> dict[str, float]:
    """Time a forward traced with kernels, copies, calls and their spans, and after a mere stop.

    One span a forward, or with `layers` one a module, traced and untraced alike. A machine that others use too has
    slow and fast spells, so whatever is compared was timed within a fraction of a second. What a mere stop leaves
    behind has a before and an after but once a process, so this ratio varies most.
    """
    import pycupti

    tracer = pycupti.Tracer(kinds_of(pycupti), finalize=True)
    if layers:
        with_spans(tracer, model)

    def in_a_span() -> None:
        with tracer.correlate(1):
            forward()

    traced, untraced = [], [block(in_a_span, repeats)]
    for _ in range(blocks):
        with tracer:
            traced.append(block(in_a_span, repeats))
        tracer.drain()
        if tracer.stats.dropped or tracer.stats.calls_dropped:
            raise RuntimeError(f"records were dropped: {tracer.stats}")
        untraced.append(block(in_a_span, repeats))
    triples = list(zip(untraced, traced, untraced[1:], strict=False))
    kept = [each for each in triples if alike(each[0], each[2])] or triples
    found = ratios([(usual([before, after]), between) for before, between, after in kept], "traced")
    with pycupti.Tracer(kinds_of(pycupti)):
        forward()
    after = [block(in_a_span, repeats) for _ in range(EDGE)]
    found |= ratios([(usual(untraced[-EDGE:]), usual(after))], "stopped")
    return found | {"kept": len(kept) / len(triples)} | restlessness(untraced)


def run_finalized(forward: Forward, repeats: int) -> dict[str, float]:
    """Time a forward before anything was traced, and after a tracer that finalised.

    A process has but one before. Its fastest block is compared with the fastest after, since a slow spell of the
    machine adds time and none takes any away; one that lasts longer than either decides a single process still.
    """
    import pycupti

    before = [block(forward, repeats) for _ in range(PHASE)]
    with pycupti.Tracer(kinds_of(pycupti), finalize=True):
        block(forward, repeats)
    after = [block(forward, repeats) for _ in range(PHASE)]
    return ratios([(min(before), min(after))], "finalized") | restlessness([*before, *after])


def run_torch(torch: Any, forward: Forward, repeats: int, blocks: int, with_cpu: bool) -> dict[str, float]:
    """Time a forward traced by torch.profiler, and after it stopped."""
    activity = torch.profiler.ProfilerActivity
    activities = [activity.CPU, activity.CUDA] if with_cpu else [activity.CUDA]
    untraced = [block(forward, repeats) for _ in range(blocks)]
    traced = []
    for _ in range(3):
        with torch.profiler.profile(activities=activities):
            traced.append(block(forward, repeats))
    after = [block(forward, repeats) for _ in range(3)]
    fresh = usual(untraced)
    return (
        ratios([(fresh, each) for each in traced], "traced")
        | ratios([(fresh, each) for each in after], "stopped")
        | restlessness(untraced)
    )


def measure(mode: str, batch: int, repeats: int, blocks: int) -> dict[str, float]:
    """Time one mode in this process; ratios to its own untraced forward."""
    torch, model, forward = forward_of(batch)
    untraced = block(forward, repeats)[1]
    if mode == "finalized":
        found = run_finalized(forward, repeats)
    elif mode.startswith("pycupti"):
        found = run_pycupti(model, forward, repeats, blocks, mode.endswith("layers"))
    else:
        found = run_torch(torch, forward, repeats, blocks, mode.endswith("all"))
    return {"untraced_ms": untraced / 1e6} | found


def output_of(command: list[str]) -> str:
    """Run a command in a fresh process."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return done.stdout


def child(mode: str, batch: int, repeats: int, blocks: int) -> dict[str, float]:
    """Run `measure` in a fresh process."""
    command = [sys.executable, __file__, "--child", mode]
    for name, value in (("batch", batch), ("repeats", repeats), ("blocks", blocks)):
        command += [f"--{name}", str(value)]
    found: dict[str, float] = json.loads(output_of(command).splitlines()[-1])
    return found


def case(name: str, **arguments: Any) -> dict[str, Any]:
    """Run one of the cases of pycupti's GPU tests."""
    found: dict[str, Any] = json.loads(
        output_of([sys.executable, str(CASES), name, json.dumps(arguments)]).splitlines()[-1]
    )
    return found


def gather(batch: int, repeats: int, blocks: int, rounds: int) -> dict[str, dict[str, float]]:
    """Take turns over the modes, and return the median of each ratio over the processes that ran undisturbed.

    A process of torch.profiler is set aside for how its untraced forwards differ alone, and none is where that would
    leave no other; of pycupti's, whose blocks take turns, pairs of blocks are, and those of `finalized` all count.
    """
    seen: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES if batch == 1 or mode != "finalized"}
    for _ in range(rounds):
        for mode in (each for each in seen for _ in range(PROCESSES.get(each, 1))):
            seen[mode].append(child(mode, batch, repeats, blocks))
            rounded = {name: round(value, 3) for name, value in seen[mode][-1].items()}
            print(f"# batch {batch} {mode} {json.dumps(rounded)}", flush=True)
    quiet = {
        mode: [run for run in runs if not mode.startswith("torch") or run["restless"] <= QUIET] or runs
        for mode, runs in seen.items()
    }
    return {mode: {name: median(r[name] for r in runs) for name in runs[0]} for mode, runs in quiet.items()}


def claims_of_cost(results: dict[int, dict[str, dict[str, float]]]) -> list[Claim]:
    """Return the goals for the cost of tracing."""
    one, many, after = results[1]["pycupti"], results[64]["pycupti"], results[1]["finalized"]
    return [
        Claim("batch 1, traced over untraced, first decile", one["traced_p10"], 1.15, "×"),
        Claim("batch 64, traced over untraced, median", many["traced_p50"], 1.02, "×"),
        Claim("batch 1, finalised after the stop over untraced, first decile", after["finalized_p10"], 1.02, "×"),
    ]


def claims_of_attribution() -> list[Claim]:
    """Return the share of kernels without a layer, eager, compiled and in a CUDA graph, and what the layers lack."""
    eager, compiled, graph = case("layers", batch=1), case("compiled"), case("graph", replays=100)
    claims = [
        Claim(f"{name} kernels that belong to no span", 1 - facts["attributed"], 0.001, "")
        for name, facts in (("eager", eager), ("compiled", compiled), ("graph", graph))
    ]
    return [
        *claims,
        Claim("layers' kernel time less the whole, eager", abs(eager["layers_ns"] - eager["total_ns"]), 0, "ns"),
        Claim("calls outside of their layer", eager["calls_outside"], 0, ""),
        Claim("kernels that start before their call", 1 - eager["after_api"], 0.001, ""),
        Claim("kernels missing of 100 replays", abs(100 * graph["nodes"] - graph["kernels"]), 0, ""),
    ]


def claims_of_metrics() -> list[Claim]:
    """Return how far counters are from analytic figures, and from ncu's where it is installed."""
    facts = case("metrics", size=4096)
    ranges, add = facts["ranges"], facts["ranges"]["add"]
    claims = [
        Claim(f"FLOPs of a {name} product off the analytic", abs(ranges[name]["flops"] / facts["flops"] - 1), 0.05, "")
        for name in ("fp32", "tf32", "bf16", "fp16")
    ]
    for direction in ("read", "write"):
        off = abs(add[f"dram__bytes_{direction}.sum"] / facts["copied_bytes"] - 1)
        claims.append(Claim(f"DRAM bytes {direction} of a large addition off the analytic", off, 0.05, ""))
    if shutil.which("ncu") is None:
        print("not run: ncu isn't installed")
        return claims
    command = ["ncu", "--clock-control", "none", "--csv", "--print-units", "base", "--metrics", FFMA]
    target = [sys.executable, str(CASES), "ncu_target", json.dumps({"size": 4096})]
    rows = [line.split('","') for line in output_of([*command, *target]).splitlines() if FFMA in line]
    theirs = max(float(row[-1].strip('"').replace(",", "")) for row in rows)
    return [
        *claims,
        Claim("FFMA instructions of a product off ncu's", abs(ranges["fp32"][FFMA] / theirs - 1), 0.05, ""),
    ]


def main() -> int:
    """Print the ratios and the claims; 1 when one doesn't hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="processes for each mode")
    parser.add_argument("--blocks", type=int, default=40, help="traced blocks in a process")
    parser.add_argument("--repeats", type=int, default=30, help="forwards in a block")
    parser.add_argument("--batch", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.batch, options.repeats, options.blocks)))
        return 0
    import pycupti

    found = pycupti.probe()
    if found.problem:
        print(f"not run: {found.problem}")
        return 0
    print(f"{found.devices[0]}, CUDA driver {found.driver_version}, CUPTI API {found.api_version}")
    results = {
        batch: gather(batch, options.repeats, options.blocks // (1 if batch == 1 else 4), options.rounds)
        for batch in (1, 64)
    }
    columns = [f"{name}_{figure}" for name in ("traced", "stopped", "finalized") for figure in ("p10", "p50")]
    columns += ["kept", "restless"]
    rows = [
        [f"batch {batch} {mode}", f"{row['untraced_ms']:.3f}", *(f"{row[c]:.3f}" if c in row else "" for c in columns)]
        for batch, modes in results.items()
        for mode, row in modes.items()
    ]
    table(["", "untraced ms", *(name.replace("_", " ") for name in columns)], rows)
    return conclude([*claims_of_cost(results), *claims_of_attribution(), *claims_of_metrics()])


if __name__ == "__main__":
    raise SystemExit(main())
