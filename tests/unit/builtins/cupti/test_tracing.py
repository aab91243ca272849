import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlms.builtins.cupti import COMPONENTS
from mlms.hooks import Context, Profiler, Replays
from mlms.tracing.recorder import Recorder, match

CONTEXT = Context(labels=lambda name: ())


def profiler(name="cupti"):
    (component,) = (each for each in COMPONENTS if each.name == name)
    return component.make({}, CONTEXT)


def by_activity(recorder):
    """The activities of the recorder by what they are; CUDA calls are "call"."""
    return {found.attributes[0].get("mlms.gpu.activity", "call"): found for found in recorder.activities}


def keys(recorder):
    """The key of each recorded span by its name."""
    (part,) = recorder.parts()
    spans = match(part.events)
    return {
        recorder.names[name].text: int(key) for name, key in zip(spans.identifier, part.keys[spans.entry], strict=True)
    }


def test_the_components_are_profilers():
    assert [(each.name, profiler(each.name).level) for each in COMPONENTS] == [
        ("cupti", "library"),
        ("cupti_counters", "hardware"),
    ]
    assert all(isinstance(profiler(each.name), Profiler) for each in COMPONENTS)
    assert isinstance(profiler("cupti_counters"), Replays)


def test_work_belongs_to_the_span_that_launched_it(fake):
    recorder = Recorder()
    with profiler().attach(recorder):
        inner = recorder.wrap(lambda: (fake.launch("_Z4gemmi"), fake.copy(4096)), recorder.intern("conv", "layer"))
        outer = recorder.wrap(lambda: (inner(), fake.memset(64)), recorder.intern("predict", "model"))
        outer()
        fake.launch("later")
    assert recorder.correlation is None
    assert recorder.notes == []
    found = by_activity(recorder)
    assert {each.level for each in recorder.activities} == {"library"}
    key = keys(recorder)
    assert found["kernel"].launched_in.tolist() == [key["conv"], 0]
    assert found["memcpy"].launched_in.tolist() == [key["conv"]]
    assert found["memset"].launched_in.tolist() == [key["predict"]]
    assert found["call"].launched_in.tolist() == [key["conv"], key["conv"], key["predict"], 0]
    names = {kind: [each.names[name] for name in each.name] for kind, each in found.items()}
    assert names == {
        "kernel": ["gemm(int)", "later"],
        "memcpy": ["memcpy HtoD"],
        "memset": ["memset"],
        "call": ["cuLaunchKernel", "cuMemcpyAsync", "cuMemsetD8Async", "cuLaunchKernel"],
    }


def test_attributes_are_plain_values(fake):
    recorder = Recorder()
    with profiler().attach(recorder):
        recorder.wrap(lambda: (fake.launch(stream=9), fake.copy(1, peer=True)), recorder.intern("predict", "model"))()
    found = by_activity(recorder)
    (kernel,) = found["kernel"].attributes
    (call, *_) = found["call"].attributes
    assert json.loads(json.dumps(kernel)) == kernel
    assert kernel | {"mlms.cuda.correlation_id": 0, "thread.id": 0} == {
        "mlms.gpu.activity": "kernel",
        "mlms.gpu.device": 0,
        "mlms.gpu.stream": 9,
        "mlms.cuda.correlation_id": 0,
        "mlms.cuda.call": "cuLaunchKernel",
        "thread.id": 0,
        "mlms.gpu.grid": [1, 2, 3],
        "mlms.gpu.block": [32, 4, 1],
        "mlms.gpu.registers": 40,
        "mlms.gpu.static_shared_bytes": 48,
        "mlms.gpu.dynamic_shared_bytes": 1024,
        "mlms.gpu.local_bytes": 16,
    }
    assert call == {
        "mlms.cuda.api": "driver",
        "mlms.cuda.correlation_id": kernel["mlms.cuda.correlation_id"],
        "thread.id": kernel["thread.id"],
    }
    copy = found["memcpy"].attributes[0]
    assert (copy["mlms.gpu.direction"], copy["mlms.gpu.source_device"], copy["mlms.gpu.destination_device"]) == (
        "PtoP",
        1,
        2,
    )


def test_graph_kernels_belong_to_the_span_that_launched_the_graph(fake):
    recorder = Recorder()
    with profiler().attach(recorder):
        predict = recorder.wrap(fake.graph, recorder.intern("predict", "model"))
        predict(nodes=2, replays=1)
        predict(nodes=2, replays=3)
    kernels = by_activity(recorder)["kernel"]
    first, second = sorted(set(kernels.launched_in.tolist()))
    assert kernels.launched_in.tolist() == [first] * 2 + [second] * 6
    assert len({each["mlms.gpu.graph_node"] for each in kernels.attributes}) == 4
    assert {each["mlms.cuda.call"] for each in kernels.attributes} == {"cuGraphLaunch"}


def test_what_ran_before_the_first_span_is_left_out(fake):
    recorder = Recorder()
    with profiler().attach(recorder):
        fake.launch("describing")
        recorder.wrap(lambda: fake.launch("recorded"), recorder.intern("predict", "model"))()
    found = by_activity(recorder)
    assert [found["kernel"].names[name] for name in found["kernel"].name] == ["recorded"]
    assert len(found["call"].name) == 1


def test_what_is_lost_or_has_no_times_is_a_note(fake):
    from fake.driver import Switch

    fake.set(Switch.ZERO_TIMES, 4)
    recorder = Recorder()
    with profiler().attach(recorder):
        recorder.wrap(lambda: fake.launch(count=8), recorder.intern("predict", "model"))()
    assert recorder.notes == ["cupti: 2 records came without times and were left out"]
    assert len(by_activity(recorder)["kernel"].name) == 6


def test_nothing_launched_is_no_activity(fake):
    recorder = Recorder()
    with profiler().attach(recorder):
        pass
    assert recorder.activities == recorder.notes == []


def test_another_client_of_cupti_is_one_note(fake, monkeypatch):
    from fake.driver import Switch

    monkeypatch.setenv("CUDA_INJECTION64_PATH", "/tools/libtool.so")
    fake.set(Switch.SUBSCRIBE_RESULT, 39)
    recorder = Recorder()
    with profiler().attach(recorder):
        assert recorder.correlation is None
    (note,) = recorder.notes
    assert note.startswith("cupti: off: starting the tracer: another tool")
    assert "libtool.so" in note


def test_it_ends_in_order_when_the_prediction_raises(fake):
    recorder = Recorder()
    with pytest.raises(ZeroDivisionError), profiler().attach(recorder):
        recorder.wrap(lambda: (fake.launch(), 1 / 0), recorder.intern("predict", "model"))()
    assert not fake.subscribed
    assert fake.finalized
    assert len(by_activity(recorder)["kernel"].name) == 1


@pytest.mark.parametrize("hidden", [True, False])
def test_a_machine_without_a_gpu_gets_one_line(hidden, tmp_path):
    if not hidden:
        pytest.importorskip("pycupti.tracer", reason="pycupti isn't installed")
    code = (
        "import sys\n"
        f"if {hidden}: sys.modules['pycupti'] = None\n"
        "from mlms.builtins.cupti.tracing import CuptiTracing\n"
        "from mlms.builtins.cupti.counters import CuptiCounters\n"
        "from mlms.tracing.recorder import Recorder\n"
        "recorder = Recorder()\n"
        "with CuptiTracing().attach(recorder), CuptiCounters().attach(recorder): pass\n"
        "CuptiCounters().replay(lambda: 1 / 0, recorder)\n"
        "print(*recorder.notes, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={
            "PYTHONPATH": ":".join(sys.path),
            "PYCUPTI_LIBCUDA": str(tmp_path / "libcuda.so.1"),
            "PATH": str(Path(sys.executable).parent),
        },
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(
        "cupti: off: the package pycupti isn't installed (pip" if hidden else "cupti: off: no CUDA driver: "
    )


def test_many_activities_are_rows_only_while_they_are_read(fake):
    recorder = Recorder()
    with profiler().attach(recorder):
        recorder.wrap(lambda: fake.launch(count=10_000), recorder.intern("predict", "model"))()
    kernels = by_activity(recorder)["kernel"]
    assert len(kernels.attributes) == 10_000
    assert kernels.attributes[-1] == list(kernels.attributes)[9_999]
    assert kernels.attributes[2:4][1] == kernels.attributes[3]
    with pytest.raises(IndexError):
        kernels.attributes[10_000]
    assert (np.diff(kernels.start_ns) > 0).all()
