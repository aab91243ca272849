"""GPU cases of mlms, each run in a process of its own: `python cases.py NAME [JSON]` prints one JSON line of facts."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from time import perf_counter_ns
from typing import Any

import numpy as np
import polars as pl
import torch

from mlms.builtins.cupti.counters import CuptiCounters
from mlms.builtins.cupti.tracing import CuptiTracing
from mlms.builtins.pytorch.predictor import PyTorchPredictor
from mlms.executor.observing import recorded_spans
from mlms.manifests.types import ModelAsset, Requirement, Source, TensorSpec, Weights
from mlms.tracing.recorder import Recorder
from mlms.tracing.session import Step
from mlms.tracing.spans import concat

STEP = Step(None)
STEP.trace_id, STEP.span_id = "0" * 31 + "1", "0" * 15 + "1"


def resnet50(**options: Any) -> PyTorchPredictor:
    import torchvision

    torch.manual_seed(7)
    asset = ModelAsset(
        name="resnet50",
        version="1.0.0",
        file=None,
        task="image_classification",
        framework=Requirement("pytorch"),
        source=Source("torchvision.models:resnet50", {}, Weights(seed=0)),
        input=(TensorSpec("image", "float32", (3, 224, 224)),),
    )
    module = torchvision.models.resnet50(weights=None).eval().requires_grad_(False).cuda()
    return PyTorchPredictor(
        asset, module, device=torch.device("cuda", 0), dtype=torch.float32, options=options, cleanup=ExitStack()
    )


def spans_of(recorder: Recorder, began: int) -> pl.DataFrame:
    """The span table, with some attributes as columns and each span's parent beside it."""
    frame = concat(list(recorded_spans(recorder, [(STEP, began)]))).frame
    frame = frame.with_columns(
        activity=pl.col("attributes").str.json_path_match("$['mlms.gpu.activity']"),
        api=pl.col("attributes").str.json_path_match("$['mlms.cuda.api']"),
        call=pl.col("attributes").str.json_path_match("$['mlms.cuda.call']"),
        unattributed=pl.col("attributes").str.contains("unattributed"),
        flops=pl.col("attributes").str.json_path_match("$['mlms.gpu.flops']").cast(pl.Float64),
        duration=pl.col("end_ns") - pl.col("start_ns"),
    )
    outer = frame.select(
        parent_id="span_id", outer="name", outer_level="level", outer_start="start_ns", outer_end="end_ns"
    )
    return frame.join(outer, on="parent_id", how="left")


def traced(level: str, batch: int, predictions: int, counters: bool = False, **options: Any) -> dict[str, Any]:
    """ResNet-50's predictions down to a level, and what became of their GPU work."""
    predictor = resnet50(**options)
    images = {"image": np.random.default_rng(7).standard_normal((batch, 3, 224, 224), dtype=np.float32)}
    for _ in range(5):
        predictor.predict(images)
    recorder = Recorder()
    tracing, counting = CuptiTracing(), CuptiCounters()
    with tracing.attach(recorder), predictor.observe(recorder, level, images) as watched:
        began = perf_counter_ns()
        for _ in range(predictions):
            watched.predict(images)
            watched.checkpoint()
    took = 0.0
    if counters:
        started = perf_counter_ns()
        counting.replay(lambda: predictor.predict(images), recorder)
        took = (perf_counter_ns() - started) / 1e9
    spans = spans_of(recorder, began)
    kernels = spans.filter(pl.col("activity") == "kernel")
    calls = spans.filter(pl.col("api").is_not_null())
    outside = calls.filter((pl.col("start_ns") < pl.col("outer_start")) | (pl.col("end_ns") > pl.col("outer_end")))
    sticking_out = pl.max_horizontal(pl.col("outer_start") - pl.col("start_ns"), pl.col("end_ns") - pl.col("outer_end"))
    by_parent = kernels.group_by("parent_id").agg(pl.col("duration").sum())
    return {
        "notes": recorder.notes,
        "kernels": kernels.height,
        "orphans": int(spans.filter(pl.col("outer_level").is_null() & (pl.col("parent_id") != STEP.span_id)).height),
        "attributed": 1 - float(kernels["unattributed"].mean() or 0),
        "total_ns": int(kernels["duration"].sum()),
        "parents_ns": int(by_parent["duration"].sum()),
        "parents": dict(kernels.group_by("outer_level").len().iter_rows()),
        "layers": kernels.filter(pl.col("outer_level") == "layer")["outer"].n_unique(),
        "copies": dict(spans.filter(pl.col("activity") == "memcpy").group_by("name").len().iter_rows()),
        "calls": dict(calls.group_by("name").len().iter_rows()),
        "launched_by": dict(kernels.group_by("call").len().iter_rows()),
        "calls_outside": outside.height,
        "worst_outside_ns": int(outside.select(sticking_out.max()).item() or 0),
        "levels": dict(spans.group_by("level").len().iter_rows()),
        "flops": float(kernels["flops"].sum()) / predictions,
        "counted": int(kernels["flops"].is_not_null().sum()),
        "analytic_flops": predictor.flops(images),
        "replay_s": took,
    }


CASES = {"traced": traced}

if __name__ == "__main__":
    arguments = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    print(json.dumps(CASES[sys.argv[1]](**arguments)), flush=True)
