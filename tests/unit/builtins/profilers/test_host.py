from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from fakes.contexts import context
from mlms import api
from mlms.builtins.profilers import host
from mlms.builtins.profilers.host import ContextSwitches, Frequencies, Host, Process, Temperatures
from mlms.tracing.observations import Counter
from mlms.tracing.recorder import Recorder

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")


@pytest.fixture(scope="module")
def counters() -> list[Counter]:
    """This process while it works for a second: computes, allocates, sleeps."""
    recorder = Recorder()
    profiler = api.load_plugins().profilers.get("host").component.make({"interval": 0.05}, context())
    with profiler.attach(recorder):
        ending = time.process_time() + 0.4
        while time.process_time() < ending:
            np.ones(1 << 16).sum()
        with mmap.mmap(-1, 16 << 20) as block:  # pages of its own, whatever the allocator has at hand
            for page in range(0, len(block), mmap.PAGESIZE):
                block[page] = 1
            for _ in range(10):
                time.sleep(0.02)
    assert recorder.notes == []
    return recorder.counters


def one(counters: list[Counter], name: str, **attributes: object) -> Counter:
    (found,) = [c for c in counters if c.name == name and c.attributes.items() >= attributes.items()]
    return found


def test_processor_time_and_utilisation(counters: list[Counter]) -> None:
    user = one(counters, "process.cpu.time", **{"cpu.mode": "user"})
    system = one(counters, "process.cpu.time", **{"cpu.mode": "system"})
    assert (user.unit, user.kind) == ("s", "sum")
    assert 0.3 < user.value[-1] + system.value[-1] < 1.5
    used = one(counters, "process.cpu.utilization")
    assert (used.unit, used.kind) == ("1", "gauge")
    assert used.value.max() <= 1.1
    # Over all samples it is the time spent.
    cpus = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count()
    intervals = np.diff([user.time_ns[0], *used.time_ns]) / 1e9
    spent = float((used.value * intervals).sum() * cpus)
    assert spent == pytest.approx(user.value[-1] + system.value[-1], abs=0.1)


def test_memory_and_threads(counters: list[Counter]) -> None:
    memory = one(counters, "process.memory.usage")
    assert (memory.unit, memory.kind) == ("By", "gauge")
    assert memory.value.max() - memory.value.min() > 12 << 20
    threads = one(counters, "process.thread.count")
    assert threads.value.min() >= 1


@LINUX
def test_faults_and_context_switches(counters: list[Counter]) -> None:
    minor = one(counters, "process.paging.faults", **{"system.paging.fault.type": "minor"})
    assert (minor.unit, minor.kind) == ("{fault}", "sum")
    assert minor.value[-1] > 1000
    assert one(counters, "process.paging.faults", **{"system.paging.fault.type": "major"}).value[-1] >= 0
    voluntary = one(counters, "process.context_switches", **{"process.context_switch.type": "voluntary"})
    assert (voluntary.unit, voluntary.kind) == ("{context_switch}", "sum")
    assert voluntary.value[-1] >= 10, "it slept ten times"


def test_every_logical_cpu_has_its_utilisation(counters: list[Counter]) -> None:
    found = [c for c in counters if c.name == "system.cpu.utilization"]
    assert [c.attributes["cpu.logical_number"] for c in found] == list(range(psutil.cpu_count()))
    for counter in found:
        assert 0 <= counter.value.min() <= counter.value.max() <= 1


def test_sums_never_fall(counters: list[Counter]) -> None:
    for counter in counters:
        if counter.kind == "sum":
            assert counter.value[0] == 0
            assert (np.diff(counter.value) >= 0).all(), counter.name


@LINUX
def test_switches_of_threads_that_ended_stay_counted() -> None:
    source = ContextSwitches(os.getpid())

    def work() -> None:
        for _ in range(50):
            time.sleep(0.001)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.03)
    during = source.read()
    thread.join()
    time.sleep(0.01)
    after = source.read()
    assert after[0] >= during[0] > 0


@LINUX
def test_a_process_of_any_name_is_read() -> None:
    program = "import ctypes; ctypes.CDLL(None).prctl(15, b') 1 2 (', 0, 0, 0); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        minor, major = host.PagingFaults(child.pid).read()
        assert 100 < minor < 1e7
        assert major >= 0
        source = Host(child.pid)
        assert len(source.read()) == len(source.series)
        child.communicate(b"\n")
    with pytest.raises(psutil.NoSuchProcess):
        Process(child.pid)


def test_what_is_slow_to_read_is_read_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sensor:
        label, current = "", 40.0

    def sensors() -> Iterator[dict[str, list[Sensor]]]:
        yield from ({"chip": [Sensor(), Sensor()]}, {"chip": [Sensor(), Sensor()]}, {"chip": [Sensor()]})

    answers = sensors()
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: next(answers), raising=False)
    source = Temperatures()
    assert [series.attributes for series in source.series] == [
        {"hw.id": "chip/0", "hw.name": "chip"},
        {"hw.id": "chip/1", "hw.name": "chip"},
    ]
    assert source.read() == [40.0, 40.0]
    assert np.isnan(source.read()).all(), "not yet again"
    monkeypatch.setattr(host, "SLOW_NS", 0)
    source._due = 0
    assert np.isnan(source.read()).all(), "a sensor is gone, and which one can't be told"


def test_a_system_without_frequencies(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(percpu: bool) -> None:
        raise NotImplementedError

    monkeypatch.setattr(psutil, "cpu_freq", refuse)
    assert Frequencies().series == []
