"""Run directories with layers in their traces, for the across-stack analyses.

``resnet50_layers.parquet`` is real: torchvision's ResNet-50 with random weights, float32, batch 1, PyTorch 2.15 on two
cores of an AMD EPYC (Zen 4); ``PyTorchPredictor.observe`` at level "layer" around eleven predictions, the first two
below a step "warm_up", the others below "measure"; model spans carry ``mlms.batch_size`` only.

``gpu_table`` is synthetic: nobody ran it. It writes down kernels, times and counters so that every figure of the GPU
analyses can be worked out by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from fakes.records import TRACE_ID, record, write_run
from mlms.runs.run import Run
from mlms.tracing import attributes
from mlms.tracing.spans import SCHEMA, SpanTable

RESNET50 = Path(__file__).parent / "resnet50_layers.parquet"


class Spans:
    """A span table being written, in whole microseconds."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def add(
        self, parent: str | None, name: str, level: str, start_us: float, us: float, facts: Mapping[str, Any] = {}
    ) -> str:
        number = f"{len(self.rows) + 1:016x}"
        start = 1_795_000_000_000_000_000 + round(start_us * 1000)
        text = attributes.dumps(facts)
        self.rows.append((TRACE_ID, number, parent, name, level, start, start + round(us * 1000), "unset", None, text))
        return number

    def table(self) -> SpanTable:
        return SpanTable(pl.DataFrame(self.rows, schema=SCHEMA, orient="row"), {"service.name": "mlms"})


def layer(kind: str, **sizes: Any) -> dict[str, Any]:
    return {"mlms.layer.type": kind, **{f"mlms.layer.{key}": value for key, value in sizes.items()}}


def traced_run(root: Path, spans: SpanTable | Path, level: str = "layer", name: str = "traced", **changes: Any) -> Run:
    """A run directory whose spans are these."""
    trace = {"level": level, "trace_id": TRACE_ID, "spans": 1, "otlp": None}
    run_id = f"20261123-2115{len(list(root.glob('*'))):02}-{name}-1a2b3c4d"
    path = write_run(root, run_id, name=name, trace=trace, **changes)
    if isinstance(spans, Path):
        shutil.copy(spans, path / "spans.parquet")
    else:
        spans.write(path / "spans.parquet")
    return Run(path)


def resnet50(root: Path, **changes: Any) -> Run:
    return traced_run(root, RESNET50, name="resnet50", **changes)


def small_table(slowdown: float = 1.0, drop: str | None = None) -> SpanTable:
    """A warm-up and three measured predictions of 100, 110 and 120 µs, of batch size 4; and one of batch size 2.

    block (80, 88, 96 µs) holds conv (60, 66, 72) and relu called twice (5 each, at any speed); then head (10, 11, 12).
    ``slowdown`` applies to conv alone; ``drop`` leaves a layer out.
    """
    made = Spans()
    root = made.add(None, "evaluate small", "application", 0, 10_000)
    warm = made.add(root, "warm_up", "application", 0, 2_000)
    measure = made.add(root, "measure", "application", 2_000, 8_000)
    runs = [(warm, 0, 9.0, 4), (measure, 2_000, 1.0, 4), (measure, 3_000, 1.1, 4), (measure, 4_000, 1.2, 4)]
    for parent, start, factor, batch in [*runs, (measure, 5_000, 0.5, 2)]:
        more = 60 * factor * (slowdown - 1)
        facts = {"mlms.batch_size": batch}
        prediction = made.add(parent, "predict small", "model", start, 100 * factor + more, facts)
        forward = made.add(prediction, "forward", "framework", start + 1, 95 * factor + more)
        inside = {"flops": 4_000_000, "parameters": 10, "parameter_bytes": 40, "call": 0}
        block = made.add(forward, "block", "layer", start + 2, 80 * factor + more, layer("Block", **inside))
        sizes = {"input_bytes": 4000, "output_bytes": 8000, "input_shapes": ["4x250"], "output_shapes": ["4x500"]}
        if drop != "conv":
            made.add(block, "conv", "layer", start + 3, 60 * factor + more, layer("Conv2d", **{**inside, **sizes}))
        for call in (0, 1):
            activation = {"flops": 0, "parameters": 0, "parameter_bytes": 0, "input_bytes": 8000, "output_bytes": 8000}
            begin = start + 66 * factor + more + 6 * call
            made.add(block, "relu", "layer", begin, 5, layer("ReLU", call=call, **activation))
        weights = {"flops": 8_000, "parameters": 1000, "parameter_bytes": 4000, "input_bytes": 8000, "output_bytes": 16}
        made.add(forward, "head", "layer", start + 82 * factor + more, 10 * factor, layer("Linear", **weights))
    return made.table()


def gpu_table(counters: bool = True) -> SpanTable:
    """Two predictions of 1000 µs. ``conv`` (host 100 µs) launches "gemm" (200 µs from 50 µs on, so 50 inside of the
    layer's span) and "add" (100 µs, from 200 µs on: 50 of them beside gemm). ``head`` (host 100 µs) launches "gemm"
    (100 µs, inside). A "fill" (10 µs) belongs to no layer; a copy is no kernel.
    """
    made = Spans()
    measure = made.add(None, "measure", "application", 0, 10_000)

    def kernel(parent: str, name: str, start: float, us: float, flops: float, read: float, wrote: float) -> None:
        counted = {
            "mlms.gpu.flops": flops,
            "mlms.gpu.dram_read_bytes": read,
            "mlms.gpu.dram_write_bytes": wrote,
            "mlms.gpu.occupancy": 0.5 if name == "gemm" else 0.25,
        }
        facts = {"mlms.gpu.activity": "kernel", **(counted if counters else {})}
        launch = made.add(parent, "cudaLaunchKernel", "library", start - 5, 4)
        made.add(launch, name, "library", start, us, facts)

    for start in (1_000, 3_000):
        prediction = made.add(measure, "predict", "model", start, 1_000, {"mlms.batch_size": 8})
        sizes = {"input_bytes": 1_000_000, "output_bytes": 1_000_000, "parameter_bytes": 0, "flops": 3_000_000}
        conv = made.add(prediction, "conv", "layer", start, 100, layer("Conv2d", **sizes))
        kernel(conv, "gemm", start + 50, 200, 4e6, 1e6, 1e6)
        kernel(conv, "add", start + 200, 100, 1e6, 2e6, 2e6)
        head = made.add(prediction, "head", "layer", start + 400, 100, layer("Linear", **sizes))
        kernel(head, "gemm", start + 400, 100, 2e6, 5e5, 5e5)
        kernel(prediction, "fill", start + 600, 10, 0, 0, 1e6)
        made.add(prediction, "copy", "library", start + 700, 10, {"mlms.gpu.activity": "memcpy"})
    return made.table()


def gpu_run(root: Path, **table: Any) -> Run:
    facts = {**record()["model"], "describe": {"device": "cuda:0", "dtype": "float32"}}
    return traced_run(root, gpu_table(**table), level="library", name="gpu", model=facts)
