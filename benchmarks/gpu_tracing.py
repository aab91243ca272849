"""What tracing costs a real model on a real GPU: ResNet-50, batch 1 and 64, beside torch.profiler in the same run.

Each mode is a process of its own, and the modes take turns, round after round. In each process the same forward is
timed untraced, traced, after the stop and, for pycupti, after cuptiFinalize, so that every ratio is against its own
process. Where there is no GPU, it says that it wasn't run and exits 0.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from claims import Claim, conclude, table

SEED = 7
MODES = ("pycupti", "pycupti_layers", "torch_cuda", "torch_all")


def forward_of(batch: int) -> tuple[Any, Any, Callable[[], None]]:
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

    for _ in range(20):
        forward()
    return torch, model, forward


def median_ns(forward: Callable[[], None], repeats: int) -> float:
    """Median time of one forward."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        forward()
        times.append(time.perf_counter_ns() - began)
    return median(times)


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


def run_pycupti(model: Any, forward: Callable[[], None], repeats: int, layers: bool) -> dict[str, float]:
    """Time a forward traced with kernels, copies, calls and correlation, after the stop, and after finalising.

    One span a forward, or with `layers` one a module, where `hooked` is the price of the hooks alone.
    """
    import pycupti

    Kind = pycupti.Kind
    kinds = [Kind.KERNEL, Kind.MEMCPY, Kind.MEMSET, Kind.RUNTIME, Kind.DRIVER]
    found = {}
    tracer = pycupti.Tracer(kinds)

    def in_a_span() -> None:
        with tracer.correlate(1):
            forward()

    hooks = with_spans(tracer, model) if layers else []
    if layers:
        found["hooked"] = median_ns(forward, repeats)
    with tracer:
        median_ns(in_a_span, 10)
        found["traced"] = median_ns(in_a_span, repeats)
    for hook in hooks:
        hook.remove()
    if tracer.stats.dropped:
        raise RuntimeError(f"{tracer.stats.dropped} records were dropped")
    found["stopped"] = median_ns(forward, repeats)
    with pycupti.Tracer(kinds, finalize=True):
        forward()
    median_ns(forward, 10)
    found["finalized"] = median_ns(forward, repeats)
    return found


def run_torch(torch: Any, forward: Callable[[], None], repeats: int, with_cpu: bool) -> dict[str, float]:
    """Time a forward traced by torch.profiler, and after it stopped."""
    activity = torch.profiler.ProfilerActivity
    activities = [activity.CPU, activity.CUDA] if with_cpu else [activity.CUDA]
    with torch.profiler.profile(activities=activities):
        median_ns(forward, 10)
        traced = median_ns(forward, repeats)
    return {"traced": traced, "stopped": median_ns(forward, repeats)}


def measure(mode: str, batch: int, repeats: int) -> dict[str, float]:
    """Time one mode in this process; ratios to its own untraced forward."""
    torch, model, forward = forward_of(batch)
    untraced = median_ns(forward, repeats)
    if mode.startswith("pycupti"):
        found = run_pycupti(model, forward, repeats, mode.endswith("layers"))
    else:
        found = run_torch(torch, forward, repeats, mode.endswith("all"))
    return {"untraced_ms": untraced / 1e6} | {name: value / untraced for name, value in found.items()}


def child(mode: str, batch: int, repeats: int) -> dict[str, float]:
    """Run `measure` in a fresh process."""
    command = [sys.executable, __file__, "--child", mode, "--batch", str(batch), "--repeats", str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def gather(batch: int, repeats: int, rounds: int) -> dict[str, dict[str, float]]:
    """Take turns over the modes, and return the median of each ratio."""
    seen: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        for mode in MODES:
            seen[mode].append(child(mode, batch, repeats))
            print(f"# batch {batch} {mode} {json.dumps(seen[mode][-1])}", flush=True)
    return {mode: {name: median(r[name] for r in runs) for name in runs[0]} for mode, runs in seen.items()}


def claims_of(results: dict[int, dict[str, dict[str, float]]]) -> list[Claim]:
    """Return the goals with what was measured."""
    one, many = results[1]["pycupti"], results[64]["pycupti"]
    after = min(one["stopped"], one["finalized"])
    return [
        Claim("batch 64, traced over untraced", many["traced"], 1.02, "×"),
        Claim("batch 1, traced over untraced", one["traced"], 1.15, "×"),
        Claim("batch 1, after the stop (finalised where that helps) over untraced", after, 1.02, "×"),
    ]


def main() -> int:
    """Print the ratios and the claims; 1 when one doesn't hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--batch", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.batch, options.repeats)))
        return 0
    import pycupti

    found = pycupti.probe()
    if found.problem:
        print(f"not run: {found.problem}")
        return 0
    print(f"{found.devices[0]}, CUDA driver {found.driver_version}, CUPTI API {found.api_version}")
    results = {batch: gather(batch, options.repeats // (1 if batch == 1 else 4), options.rounds) for batch in (1, 64)}
    columns = ("hooked", "traced", "stopped", "finalized")
    rows = [
        [f"batch {batch} {mode}", f"{row['untraced_ms']:.3f}", *(f"{row[c]:.3f}" if c in row else "" for c in columns)]
        for batch, modes in results.items()
        for mode, row in modes.items()
    ]
    table(["", "untraced ms", *columns], rows)
    return conclude(claims_of(results))


if __name__ == "__main__":
    raise SystemExit(main())
