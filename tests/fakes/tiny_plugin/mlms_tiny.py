"""A plugin for tests: a framework whose models add up, and misbehave where the environment says so.

Put its folder on PYTHONPATH. ``TINY_TROUBLE="3=kill,7=hang"`` makes the evaluations with the seeds 3 and 7 do so in
their first measured second; ``TINY_LOG`` names a file that gets a line "seed process parent" for every model loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlms.errors import DeviceError
from mlms.hooks import Batch, Component, Context, Outputs, Sample, Task, hookimpl
from mlms.manifests.types import DatasetAsset, ModelAsset

SAMPLES = 16


class Predictor:
    def __init__(self, trouble: str) -> None:
        self._trouble = trouble
        self._predictions = 0

    def predict(self, batch: Batch) -> Outputs:
        self._predictions += 1
        if self._predictions > 20 and self._trouble:
            make_trouble(self._trouble)
        return {"sum": batch["x"].sum(axis=1)}

    def flops(self, batch: Batch) -> int:
        return batch["x"].size - len(batch["x"])

    def describe(self) -> Mapping[str, Any]:
        return {"parameters": 3, "size_bytes": 12, "device": "cpu", "dtype": "float32"}

    def close(self) -> None:
        pass


def make_trouble(kind: str) -> None:
    """Fail in one of the ways that evaluations do."""
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif kind == "exit":
        os._exit(3)
    elif kind == "hang":
        time.sleep(3600)
    elif kind == "raise":
        raise ValueError("the numbers don't add up")
    elif kind == "device":
        raise DeviceError("there is no tiny device", hint="buy one")
    elif kind == "slow":
        time.sleep(0.02)


class Tiny:
    levels: tuple[str, ...] = ("application", "model")

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def load(self, model: ModelAsset, weights: Path | None, device: str, options: Mapping[str, Any]) -> Predictor:
        print("loading a tiny model", flush=True)  # as chatty as the frameworks that there are
        if "TINY_LOG" in os.environ:
            with Path(os.environ["TINY_LOG"]).open("a") as file:
                file.write(f"{self._seed} {os.getpid()} {os.getppid()}\n")
        troubles = dict(pair.split("=") for pair in os.environ.get("TINY_TROUBLE", "").split(",") if pair)
        return Predictor(troubles.get(str(self._seed), ""))

    def describe(self) -> Mapping[str, Any]:
        return {"version": "1.0.0", "torch_imported": "torch" in sys.modules}


class Rows:
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Sample:
        value = np.full(3, index, dtype=np.float32)
        return Sample(f"row-{index:02}", value, float(value.sum()))


class Share:
    """Percent of the sums that are right."""

    unit = "%"

    def __init__(self) -> None:
        self._right = self._all = 0

    def update(self, predictions: Sequence[Any], targets: Sequence[Any]) -> None:
        self._right += sum(float(a) == float(b) for a, b in zip(predictions, targets, strict=True))
        self._all += len(targets)

    def compute(self) -> float:
        return 100.0 * self._right / self._all


def no_check(outputs: Outputs, dataset: DatasetAsset) -> None:
    """Any number is a sum."""


def describe(prediction: Any) -> Mapping[str, Any]:
    return {"sum": float(prediction)}


@hookimpl
def mlms_asset_folders() -> Iterable[Path]:
    return [Path(__file__).parent / "assets"]


@hookimpl
def mlms_frameworks() -> Iterable[Component[Tiny]]:
    return [Component("tiny", lambda options, context: Tiny(context.seed), "Adds up.")]


@hookimpl
def mlms_datasets() -> Iterable[Component[Rows]]:
    return [Component("tiny_rows", lambda options, context: Rows(), "Rows of three equal numbers.")]


@hookimpl
def mlms_tasks() -> Iterable[Component[Task]]:
    task = Task("addition", ("share",), describe, no_check)
    return [Component("addition", lambda options, context: task, "Adding up.")]


@hookimpl
def mlms_metrics() -> Iterable[Component[Share]]:
    return [Component("share", make_share, "Percent of the sums that are right.")]


def make_share(options: Mapping[str, Any], context: Context) -> Share:
    return Share()
