"""The NVML profiler against a library in C that has NVML's functions, and against a real one where there is a GPU."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakes.contexts import context
from mlms import api, nvml
from mlms.hooks import Profiler
from mlms.tracing.observations import Counter
from mlms.tracing.recorder import Recorder

SOURCE = Path(__file__).parents[3] / "fakes" / "nvml.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    made = folder / nvml.LIBRARY
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(made), str(SOURCE)], check=True)
    return folder


def profiler(device_uuid: str | None = None) -> Profiler:
    told = replace(context(), device_uuid=device_uuid)
    made: Profiler = api.load_plugins().profilers.get("nvml").component.make({"interval": "20ms"}, told)
    return made


def observed(device_uuid: str | None = None) -> Recorder:
    recorder = Recorder()
    with profiler(device_uuid).attach(recorder):
        time.sleep(0.3)
    return recorder


def by_name(recorder: Recorder, identifier: str) -> dict[str, list[Counter]]:
    found: dict[str, list[Counter]] = {}
    for counter in recorder.counters:
        if counter.attributes["hw.id"] == identifier:
            found.setdefault(counter.name, []).append(counter)
    return found


def test_every_figure_of_a_gpu(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))  # the sampling process starts with it
    recorder = observed("GPU-0")
    assert recorder.notes == []
    assert {counter.attributes["hw.id"] for counter in recorder.counters} == {"GPU-0"}, "the model is on this one"
    found = by_name(recorder, "GPU-0")
    one = {name: series[0] for name, series in found.items()}
    assert one["hw.power"].attributes == {"hw.id": "GPU-0", "hw.name": "Fake A100", "hw.type": "gpu"}
    levels = {name: (counter.unit, counter.kind, counter.value[-1]) for name, counter in one.items()}
    assert levels["hw.gpu.utilization"] == ("1", "gauge", 0.75)
    assert levels["hw.gpu.memory.usage"] == ("By", "gauge", 3 * 2**30)
    assert levels["hw.gpu.memory.limit"] == ("By", "gauge", 80 * 2**30)
    assert levels["hw.power"] == ("W", "gauge", 250.5)
    assert levels["hw.temperature"] == ("Cel", "gauge", 61)
    assert levels["hw.energy"][:2] == ("J", "sum")
    energy = one["hw.energy"].value
    assert energy[0] == 0
    assert np.allclose(np.diff(energy), 0.5), "half a joule a call"
    clocks = {clock.attributes["mlms.gpu.clock.type"]: clock.value[-1] for clock in found["mlms.gpu.clock"]}
    assert clocks == {"sm": 1980e6, "memory": 2619e6}
    held = {one.attributes["mlms.gpu.slowdown.reason"]: set(one.value) for one in found["mlms.gpu.slowdown"]}
    assert held.pop("sw_power_cap") == {1.0}
    assert set(held) == set(nvml.SLOWDOWNS) - {"sw_power_cap"}
    assert all(values == {0.0} for values in held.values())


def test_all_gpus_where_the_model_is_on_none_and_no_figures_that_one_lacks(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    recorder = observed()
    assert set(by_name(recorder, "GPU-0")) - set(by_name(recorder, "GPU-1")) == {
        "hw.energy",
        "mlms.gpu.clock",
        "mlms.gpu.slowdown",
    }
    assert "hw.gpu.utilization" in by_name(recorder, "GPU-1")


def test_a_machine_without_a_gpu_is_told_in_one_line(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("NO_GPU", "1")
    recorder = observed()
    assert recorder.counters == []
    assert recorder.notes == [
        "nvml: off, since NVML (libnvidia-ml.so.1) finds no NVIDIA GPU: install NVIDIA's driver where there is one"
    ]


@pytest.mark.gpu
def test_a_real_gpu() -> None:
    gpus = nvml.gpus()
    if not gpus:
        pytest.skip("no NVIDIA GPU")
    recorder = observed(gpus[0].uuid)
    assert recorder.notes == []
    found = by_name(recorder, gpus[0].uuid)
    assert {"hw.gpu.utilization", "hw.gpu.memory.usage", "hw.gpu.memory.limit", "hw.temperature"} <= found.keys()
    (used,), (limit,) = found["hw.gpu.memory.usage"], found["hw.gpu.memory.limit"]
    assert 0 < used.value.max() <= limit.value.min()
    assert 0 < found["hw.temperature"][0].value.min() < 120
    if "hw.power" in found:
        assert 1 < found["hw.power"][0].value.min() < 2000
