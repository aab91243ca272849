"""How long the command line takes to start, and an evaluation to reach its first inference.

Each command alternates with its peer, both in processes of their own; medians are compared. The peers: a click program
of one command for ``mlms --version`` and ``mlms --help``, and for ``mlms eval`` a script that imports torch and
torchvision and runs the same model (resnet18, random weights, on the CPU) once. "First inference" is the time from
the start of the process to the end of the first prediction, both read from the wall clock.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from claims import Claim, conclude, options, table

CLICK_PROGRAM = '''
import click

@click.group()
@click.version_option("1.0", prog_name="bare")
def cli():
    """A program that does nothing."""

@cli.command()
def nothing():
    """Do nothing."""

cli()
'''
TORCH_PROGRAM = """
import time

import torch
import torchvision

model = torchvision.models.resnet18().eval()
with torch.inference_mode():
    model(torch.randn(1, 3, 224, 224))
print(time.time_ns())
"""
MANIFEST = """
kind: manifest
name: first-inference
model: resnet18
dataset: {name: synthetic, limit: 1}
weights: random
device: cpu
warmup: 1
scenario: {type: single_stream, min_queries: 1, min_duration: 0, max_duration: 1s}
"""
ASSET = """
kind: model
name: model-{number}
description: Model number {number}.
tags: [example]
task: image_classification
framework: {{name: pytorch, version: ">=2.0"}}
source:
  factory: torchvision.models:resnet18
  weights: {{random: {{seed: {number}}}}}
input:
  - {{name: image, dtype: float32, shape: [3, 224, 224]}}
preprocess:
  - decode_image: {{mode: RGB}}
  - resize: {{size: 256}}
  - center_crop: {{size: 224}}
  - rescale: {{factor: 1/255}}
  - normalize: {{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
  - to_chw
postprocess:
  - softmax
  - top_k: {{k: 5, labels: imagenet-1k}}
"""
ASSETS, FEW_ASSETS = 1000, 20
OFTEN = 4
"""Commands that take a fraction of a second are repeated so many times as often."""

Measure = Callable[[], float]


def main() -> int:
    given = options(__doc__, repeats=5, quick=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "MLMS_CACHE": str(folder / "cache"), "MLMS_RUNS": str(folder / "runs")}
        os.chdir(folder)  # where no ./assets is
        for key in ("MLMS_ASSETS", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            environment.pop(key, None)
        return conclude(measure_all(folder, environment, given.repeats, given.quick))


def measure_all(folder: Path, environment: Mapping[str, str], repeats: int, quick: bool) -> Sequence[Claim]:
    count, often = (FEW_ASSETS, repeats) if quick else (ASSETS, OFTEN * repeats)
    mlms = [sys.executable, "-m", "mlms"]
    bare, script, manifest = folder / "bare.py", folder / "script.py", folder / "manifest.yaml"
    bare.write_text(CLICK_PROGRAM)
    script.write_text(TORCH_PROGRAM)
    manifest.write_text(MANIFEST)
    assets = folder / "assets"
    assets.mkdir()
    for number in range(count):
        (assets / f"model-{number}.yaml").write_text(ASSET.format(number=number))

    def whole(*command: str) -> Measure:
        return lambda: run([*command], environment)[0]

    def first_inference_of_script() -> float:
        begin = time.time_ns()
        _, output = run([sys.executable, str(script)], environment)
        return (int(output) - begin) / 1e9

    def first_inference_of_mlms() -> float:
        begin = time.time_ns()
        run([*mlms, "eval", str(manifest), "--quiet"], environment)
        return (end_of_first_prediction(Path(environment["MLMS_RUNS"])) - begin) / 1e9

    version = compare(whole(*mlms, "--version"), whole(sys.executable, str(bare), "--version"), often, quick)
    help_ = compare(whole(*mlms, "--help"), whole(sys.executable, str(bare), "--help"), often, quick)
    listing = whole(*mlms, "list", "models", "--assets", str(assets))
    cold = listing()
    warm, start = compare(listing, whole(sys.executable, str(bare), "nothing"), often, quick)
    first = compare(first_inference_of_mlms, first_inference_of_script, repeats, quick)
    rows = [("mlms --version", *version), ("mlms --help", *help_), (f"list, {count:,} assets", warm, start)]
    rows += [("first inference", *first)]
    table(
        ["", "mlms, s", "peer, s", "ratio"],
        [[name, f"{ours:.3f}", f"{peer:.3f}", f"{ours / peer:.2f}"] for name, ours, peer in rows],
    )
    print(f"(the first list, which checks every file: {cold:.3f} s)")
    return [
        Claim("mlms --version beside a bare click program", version[0] / version[1], 1.5, "×"),
        Claim("mlms --help beside a bare click program", help_[0] / help_[1], 1.5, "×"),
        Claim(f"mlms list models with {count:,} assets, warm", warm, 1.0, "s"),
        Claim("first inference of mlms eval beside a bare script", first[0] / first[1], 1.25, "×"),
    ]


def compare(ours: Measure, peer: Measure, repeats: int, quick: bool) -> tuple[float, float]:
    """The medians of two measurements that alternate, after one of each that doesn't count (unless ``quick``)."""
    if not quick:
        ours(), peer()
    pairs = [(ours(), peer()) if turn % 2 else (peer(), ours())[::-1] for turn in range(repeats)]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


def run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """Seconds and standard output of a command."""
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return seconds, done.stdout


def end_of_first_prediction(runs: Path) -> int:
    """Unix time (ns) of the newest run's first prediction, from its raw latencies."""
    import polars as pl

    (newest,) = sorted(runs.iterdir(), key=lambda run: run.stat().st_mtime_ns)[-1:]
    first = pl.read_parquet(newest / "latencies.parquet").row(0, named=True)
    return int(first["start_ns"] + first["latency_ns"])


if __name__ == "__main__":
    sys.exit(main())
