"""What a user can do, and the one place where the parts are wired together.

The executor is imported by what runs it, so that listing assets needs neither it nor NumPy.

import mlms

results = mlms.evaluate("manifests/digits.yaml")
results[0].metrics           # {"top1": 98.9, "top5": 100.0}
results[0].latencies         # a polars data frame
"""

from mlms.api.analyzing import analyze, find_roof, measure_roofs, try_profilers, where_time_goes
from mlms.api.evaluating import Results, Settings, agree, evaluate, find_peak, run_evaluations
from mlms.api.planning import ManifestSource, check_asset, load_catalog, load_plugins, plan, task_metrics
from mlms.api.predicting import predict, serve
from mlms.api.reading import Comparison, compare, export, open_run
from mlms.runs.run import Run

__all__ = [
    "Comparison",
    "ManifestSource",
    "Results",
    "Run",
    "Settings",
    "agree",
    "analyze",
    "check_asset",
    "compare",
    "evaluate",
    "export",
    "find_peak",
    "find_roof",
    "load_catalog",
    "load_plugins",
    "measure_roofs",
    "open_run",
    "plan",
    "predict",
    "run_evaluations",
    "serve",
    "task_metrics",
    "try_profilers",
    "where_time_goes",
]
