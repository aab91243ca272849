"""GPU cases, each run in a process of its own: `python cases.py NAME [JSON]` prints one JSON line of facts.

The tests beside this file judge the facts; benchmarks may use the same cases. Seeds are fixed.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from typing import Any

import pycupti

SEED = 7
EMPTY_KERNELS = 1_000_000


def torch_ready() -> Any:
    """Import torch with everything that could differ between runs pinned."""
    import torch

    torch.manual_seed(SEED)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch


def resnet(batch: int) -> tuple[Any, Any, Any]:
    """Return torch, a warm ResNet-50 and its input."""
    torch = torch_ready()
    import torchvision

    model = torchvision.models.resnet50(weights=None).eval().cuda()
    images = torch.randn(batch, 3, 224, 224, device="cuda")
    with torch.no_grad():
        for _ in range(5):
            model(images)
    torch.cuda.synchronize()
    return torch, model, images


def one_step(torch: Any, model: Any, images: Any) -> None:
    """A forward with a copy in, a fill and a copy out around it."""
    with torch.no_grad():
        fresh = images.cpu().cuda()
        model(fresh).zero_().cpu()


def counted(names: list[str], durations: list[int], copies: int) -> dict[str, Any]:
    """Facts that a tracer and torch.profiler can both give."""
    return {"kernels": dict(Counter(names)), "kernel_ns": int(sum(durations)), "copies": copies}


def counts_pycupti(batch: int, steps: int) -> dict[str, Any]:
    """Kernels by name, their time, and copies, as this package sees them."""
    torch, model, images = resnet(batch)
    one_step(torch, model, images)
    torch.cuda.synchronize()
    with pycupti.Tracer() as tracer:
        for _ in range(steps):
            one_step(torch, model, images)
        assert tracer.flush()
        records = tracer.drain()
    kernels = records.kernels
    names = [pycupti.demangle(records.names[i]) for i in kernels["name"]]
    facts = counted(names, (kernels["end"] - kernels["start"]).tolist(), len(records.copies) + len(records.sets))
    return facts | {"dropped": tracer.stats.dropped, "bad_timestamps": tracer.stats.bad_timestamps}


def counts_torch(batch: int, steps: int) -> dict[str, Any]:
    """The same facts from torch.profiler."""
    torch, model, images = resnet(batch)
    one_step(torch, model, images)
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(steps):
            one_step(torch, model, images)
        torch.cuda.synchronize()
    on_device = [
        event
        for event in profile.profiler.kineto_results.events()
        if event.device_type() == torch.autograd.DeviceType.CUDA
    ]
    copies = [event for event in on_device if event.name().startswith(("Memcpy", "Memset"))]
    kernels = [event for event in on_device if not event.name().startswith(("Memcpy", "Memset"))]
    return counted([k.name() for k in kernels], [k.duration_ns() for k in kernels], len(copies))


class Layers:
    """Opens a span around every call of every module, and remembers its times."""

    def __init__(self, tracer: pycupti.Tracer, model: Any) -> None:
        self.spans: dict[int, tuple[int, int]] = {}
        self._open: list[tuple[int, int]] = []
        self._tracer = tracer
        for module in model.modules():
            module.register_forward_pre_hook(self._before)
            module.register_forward_hook(self._after)

    def _before(self, *_: Any) -> None:
        span = len(self.spans) + len(self._open) + 1
        self._open.append((span, time.time_ns()))
        assert self._tracer.push(span) == 0

    def _after(self, *_: Any) -> None:
        assert self._tracer.pop() == 0
        span, began = self._open.pop()
        self.spans[span] = (began, time.time_ns())


def share(spans: Any) -> float:
    """Share of rows that belong to a span."""
    return float((spans != 0).mean()) if len(spans) else 0.0


def layers(batch: int) -> dict[str, Any]:
    """Attribution of eager kernels to layers, and the order of times."""
    import numpy as np

    torch, model, images = resnet(batch)
    tracer = pycupti.Tracer()
    tracked = Layers(tracer, model)
    with tracer, torch.no_grad():
        for _ in range(20):
            model(images)
        assert tracer.flush()
        records = tracer.drain()
    spans = pycupti.attribute(records)
    durations = records.kernels["end"] - records.kernels["start"]
    per_layer = {int(s): int(durations[spans.kernels == s].sum()) for s in np.unique(spans.kernels)}
    attributed = spans.calls != 0
    calls = records.calls[attributed]
    edges = np.array([tracked.spans[int(s)] for s in spans.calls[attributed]], np.int64)
    early = edges[:, 0] - calls["start"].astype(np.int64)
    late = calls["end"].astype(np.int64) - edges[:, 1]
    order = np.argsort(records.calls["correlation"], kind="stable")
    place = order[np.searchsorted(records.calls["correlation"], records.kernels["correlation"], sorter=order)]
    after = records.kernels["start"] >= records.calls["start"][place]
    return {
        "kernels": len(records.kernels),
        "attributed": share(spans.kernels),
        "total_ns": int(durations.sum()),
        "layers_ns": sum(per_layer.values()),
        "layers": len(per_layer),
        "calls": len(calls),
        "calls_outside": int(((early > 0) | (late > 0)).sum()),
        "worst_outside_ns": int(max(early.max(), late.max())),
        "after_api": float(after.mean()),
        "call_names": dict(
            Counter(tracer.call_name(int(c["domain"]), int(c["function"])) for c in records.calls[-2000:])
        ),
    }


def small_model(torch: Any) -> Any:
    """Return layers that Inductor turns into Triton kernels."""
    return (
        torch.nn.Sequential(
            torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.LayerNorm(512), torch.nn.Linear(512, 64)
        )
        .eval()
        .cuda()
    )


def compiled() -> dict[str, Any]:
    """Attribution of compiled kernels, which launch through the driver API."""
    torch = torch_ready()
    model = torch.compile(small_model(torch))
    x = torch.randn(64, 256, device="cuda")
    with torch.no_grad():
        model(x)
        with pycupti.Tracer() as tracer:
            for _ in range(50):
                with tracer.correlate(5):
                    model(x)
            assert tracer.flush()
            records = tracer.drain()
    names = {records.names[i] for i in records.kernels["name"]}
    return {
        "kernels": len(records.kernels),
        "attributed": share(pycupti.attribute(records).kernels),
        "triton": sum(name.startswith("triton") for name in names),
    }


def graph(replays: int) -> dict[str, Any]:
    """A captured forward: nodes, replays and the layers of both."""
    torch = torch_ready()
    model = small_model(torch)
    x = torch.randn(64, 256, device="cuda")
    tracer = pycupti.Tracer()
    with torch.no_grad():
        for _ in range(3):
            model(x)
        torch.cuda.synchronize()
        with tracer:
            tracked = Layers(tracer, model)
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured):
                model(x)
            tracer.flush()
            before = tracer.drain()
            for _ in range(replays):
                captured.replay()
            assert tracer.flush()
            records = tracer.drain()
    spans = pycupti.attribute(records).kernels
    nodes = len(set(records.kernels["graph_node"].tolist()))
    return {
        "before": len(before.kernels),
        "nodes": nodes,
        "kernels": len(records.kernels),
        "attributed": share(spans),
        "layers": len(set(spans.tolist())),
        "spans": len(tracked.spans),
        "correlations": len(set(records.kernels["correlation"].tolist())),
    }


def empty(count: int, max_buffers: int, buffer_mib: float) -> dict[str, Any]:
    """Many empty kernels, and what became of their records."""
    torch = torch_ready()
    torch.cuda._sleep(0)
    torch.cuda.synchronize()
    launch = torch.cuda._sleep
    began = time.perf_counter_ns()
    for _ in range(count // 10):
        launch(0)
    torch.cuda.synchronize()
    untraced = (time.perf_counter_ns() - began) / (count // 10)
    with pycupti.Tracer([pycupti.Kind.KERNEL], max_buffers=max_buffers, buffer_mib=buffer_mib) as tracer:
        began = time.perf_counter_ns()
        for _ in range(count):
            launch(0)
        torch.cuda.synchronize()
        traced = (time.perf_counter_ns() - began) / count
        flushed = tracer.flush()
        stats = tracer.stats
        kernels = tracer.drain().kernels
    return {
        "kernels": len(kernels),
        "dropped": stats.dropped,
        "rejected": stats.rejected,
        "bad_timestamps": stats.bad_timestamps,
        "unknown_kinds": stats.unknown_kinds,
        "flushed": flushed,
        "outstanding": stats.buffers_outstanding,
        "decode_ns": stats.decode_ns / max(1, stats.records),
        "untraced_ns": untraced,
        "traced_ns": traced,
    }


def push_pop() -> dict[str, Any]:
    """What push and pop cost with the real library."""
    torch = torch_ready()
    torch.cuda._sleep(0)
    with pycupti.Tracer() as tracer:
        began = time.perf_counter_ns()
        for span in range(1, 200_001):
            tracer.push(span)
            tracer.pop()
        took = time.perf_counter_ns() - began
    return {"ns": took / 200_000}


def conflict_first() -> dict[str, Any]:
    """This package first, then torch.profiler."""
    torch = torch_ready()
    x = torch.randn(64, 64, device="cuda")
    with pycupti.Tracer() as tracer:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(100):
                x = x + 1
            torch.cuda.synchronize()
        for _ in range(100):
            x = x + 1
        assert tracer.flush()
        records = tracer.drain()
    theirs = sum(
        event.device_type() == torch.autograd.DeviceType.CUDA for event in profile.profiler.kineto_results.events()
    )
    return {"ours": len(records.kernels), "theirs": theirs}


def conflict_second() -> dict[str, Any]:
    """torch.profiler first, then this package."""
    torch = torch_ready()
    x = torch.randn(64, 64, device="cuda")
    error = ""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(50):
            x = x + 1
        try:
            pycupti.Tracer().start()
        except pycupti.Conflict as conflict:
            error = str(conflict)
        for _ in range(50):
            x = x + 1
        torch.cuda.synchronize()
    events = profile.profiler.kineto_results.events()
    theirs = sum(event.device_type() == torch.autograd.DeviceType.CUDA for event in events)
    after = ""
    try:
        with pycupti.Tracer() as tracer:
            x = x + 1
            tracer.flush()
            after = f"{len(tracer.drain().kernels)} kernels"
    except pycupti.PycuptiError as late:
        after = str(late)
    return {"error": error, "theirs": theirs, "after": after}


def cycles(count: int, finalize: bool) -> dict[str, Any]:
    """Start and stop over and over; the calls that a flush makes itself aren't recorded."""
    torch = torch_ready()
    x = torch.randn(64, 64, device="cuda")
    seen = []
    for _ in range(count):
        with pycupti.Tracer(finalize=finalize) as tracer:
            for _ in range(10):
                x = x + 1
            tracer.flush()
        records = tracer.drain()
        seen.append((len(records.kernels), len(records.calls)))
    return {"seen": sorted(set(seen)), "cycles": len(seen)}


def threads(count: int, streams: int) -> dict[str, Any]:
    """Threads on shared streams, each under a span of its own."""
    torch = torch_ready()
    available = [torch.cuda.Stream() for _ in range(streams)]
    torch.zeros(1, device="cuda") + 1
    torch.cuda.synchronize()

    def work(tracer: pycupti.Tracer, span: int) -> None:
        with torch.cuda.stream(available[span % streams]):
            x = torch.zeros(16, device="cuda")
            for _ in range(500):
                with tracer.correlate(span):
                    x = x + 1

    with pycupti.Tracer() as tracer:
        running = [threading.Thread(target=work, args=(tracer, span)) for span in range(1, count + 1)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        assert tracer.flush()
        records = tracer.drain()
    found = Counter(pycupti.attribute(records).kernels.tolist())
    return {
        "per_span": [found[span] for span in range(1, count + 1)],
        "streams": len(set(records.kernels["stream"].tolist())),
        "threads": len(set(records.calls["thread"].tolist())),
    }


def exit_without_stop() -> dict[str, Any]:
    """Leave a tracer running at exit."""
    torch = torch_ready()
    tracer = pycupti.Tracer()
    tracer.start()
    torch.ones(8, device="cuda") + 1
    return {"running": tracer.running}


def fork() -> dict[str, Any]:
    """Fork while tracing: the child isn't traced, the parent goes on."""
    torch = torch_ready()
    x = torch.ones(8, device="cuda")
    with pycupti.Tracer() as tracer:
        for _ in range(100):
            x = x + 1
        pid = os.fork()
        if pid == 0:
            tracer.push(1)
            tracer.pop()
            tracer.stop()
            os._exit(3 if tracer.running else 0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for _ in range(100):
            x = x + 1
        assert tracer.flush()
        records = tracer.drain()
    return {"status": status, "kernels": len(records.kernels)}


def metrics(size: int) -> dict[str, Any]:
    """Counters of products and of a large elementwise addition, per range and per kernel."""
    torch = torch_ready()
    chip = pycupti.metrics.chip()
    names = (*pycupti.metrics.ROOFLINE, *pycupti.metrics.flop_counters(chip))
    matmul = torch.backends.cuda.matmul
    inputs = {
        "fp32": torch.float32,
        "tf32": torch.float32,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
    }
    products = {
        name: [torch.randn(size, size, device="cuda").to(dtype) for _ in range(3)] for name, dtype in inputs.items()
    }
    source = torch.randn(256 << 20, device="cuda")
    target = torch.empty_like(source)

    def work(mark: Any) -> None:
        for name, (a, b, out) in products.items():
            matmul.allow_tf32 = name == "tf32"
            with mark(name):
                torch.mm(a, b, out=out)
        with mark("add"):
            torch.add(source, 1, out=target)
        torch.cuda.synchronize()

    work(lambda _: nullcontext())
    with pycupti.RangeProfiler(names) as profiler:
        passes = profiler.passes
        by_range = profiler.measure(lambda: work(profiler.range))
    with pycupti.RangeProfiler(names, per_kernel=True) as profiler:
        by_kernel = profiler.measure(lambda: work(profiler.range))
    flops = pycupti.metrics.flops
    return {
        "chip": chip,
        "passes": passes,
        "ranges": {found.name: found.values | {"flops": flops(found.values)} for found in by_range},
        "kernels": [[found.name, found.values | {"flops": flops(found.values)}] for found in by_kernel],
        "copied_bytes": 4 * (256 << 20),
        "flops": 2 * size**3,
        "added": 2 * (256 << 20),  # torch.add multiplies by its alpha, too
    }


def turns() -> dict[str, Any]:
    """Trace and count by turns, CUPTI finalised each time."""
    torch = torch_ready()
    x = torch.randn(64, 64, device="cuda")

    def work() -> None:
        x + 1
        torch.cuda.synchronize()

    work()
    traced, counted = [], []
    for turn in range(3):
        with pycupti.Tracer(finalize=True) as tracer:
            work()
        traced.append(len(tracer.drain().kernels))
        if turn < 2:
            with pycupti.RangeProfiler(pycupti.metrics.ROOFLINE, per_kernel=True, finalize=True) as profiler:
                counted.append(len(profiler.measure(work)))
    return {"traced": traced, "counted": counted}


def ncu_target(size: int) -> dict[str, Any]:
    """One product, for ncu to look at."""
    torch = torch_ready()
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.randn(size, size, device="cuda") for _ in range(2))
    out = torch.empty(size, size, device="cuda")
    for _ in range(2):
        torch.mm(a, b, out=out)
    torch.cuda.synchronize()
    return {}


CASES = {
    case.__name__: case
    for case in (
        counts_pycupti,
        counts_torch,
        layers,
        compiled,
        graph,
        empty,
        push_pop,
        conflict_first,
        conflict_second,
        cycles,
        threads,
        exit_without_stop,
        fork,
        metrics,
        turns,
        ncu_target,
    )
}

if __name__ == "__main__":
    arguments = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    print(json.dumps(CASES[sys.argv[1]](**arguments)), flush=True)
