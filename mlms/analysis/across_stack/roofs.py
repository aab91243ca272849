"""What this machine was measured to reach at most, kept in the cache: measured once for each way of running models."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlms.hooks.types import Roof
from mlms.storage import writing

FOLDER = "roofs"


@dataclass(frozen=True, slots=True)
class Way:
    """How a model was run, as far as it decides how fast it can be. ``threads`` is None where it doesn't matter."""

    framework: str
    version: str
    device: str
    dtype: str
    threads: int | None

    def __str__(self) -> str:
        parts = [f"{self.framework} {self.version}", self.device, self.dtype]
        return ", ".join(parts + [f"{self.threads} threads"] * (self.threads is not None))


def way_of(record: Mapping[str, Any]) -> Way | None:
    """How a run's model was run; None where the record doesn't tell."""
    facts, framework = record["model"]["describe"], record["framework"]
    if not facts.get("device") or not facts.get("dtype"):
        return None
    on_cpu = facts["device"] == "cpu"
    threads = framework["describe"].get("threads") if on_cpu else None
    installed = str(framework["installed"] or "unknown")
    return Way(str(framework["name"]), installed, str(facts["device"]), str(facts["dtype"]), threads)


def machine(environment: Mapping[str, Any]) -> str:
    """A fingerprint of what decides how fast a machine can be: processor, what of it may be used, memory, GPUs."""
    parts = [environment["cpu"], round(environment["memory_bytes"] / 2**30), environment["gpus"]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def known_roof(environment: Mapping[str, Any], way: Way, cache: Path) -> Roof | None:
    """What was measured on the machine of ``environment`` for this way of running; None if nothing was.

    A file that is damaged counts as none, so that it is measured again.
    """
    try:
        found = json.loads(_file(environment, way, cache).read_text("utf-8"))["roof"]
        bandwidths = tuple((int(size), float(rate)) for size, rate in found["bandwidths"])
        return Roof(float(found["flops_per_s"]), bandwidths)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_roof(environment: Mapping[str, Any], way: Way, roof: Roof, cache: Path) -> Path:
    """Keep what was measured, of each figure the best one ever measured: noise only lowers it. Returns its file.

    Raises:
        StorageError: the cache can't be written.
    """
    path = _file(environment, way, cache)
    before = known_roof(environment, way, cache)
    if before is not None:
        rates = dict(before.bandwidths)
        best = tuple((size, max(rate, rates.get(size, 0.0))) for size, rate in roof.bandwidths)
        roof = Roof(max(roof.flops_per_s, before.flops_per_s), best)
    text = json.dumps({"way": asdict(way), "roof": asdict(roof), "cpu": environment["cpu"]["model"]}, indent=2)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(text, "utf-8")
        beside.replace(path)
    return path


def _file(environment: Mapping[str, Any], way: Way, cache: Path) -> Path:
    words = (way.framework, way.version, way.device, way.dtype, way.threads or "all")
    name = "-".join(re.sub(r"[^\w.+]", "_", str(word)) for word in words)
    return cache / FOLDER / machine(environment) / f"{name}.json"
