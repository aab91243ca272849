from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import psutil
import pytest

from mlms.tracing import sampling
from mlms.tracing.clock import now
from mlms.tracing.recorder import Recorder
from mlms.tracing.sampling import sampled


def sample(name: str, seconds: float = 0.3, **options: float) -> Recorder:
    recorder = Recorder()
    with sampled(recorder, "it", f"fakes.sources:{name}", {}, **options):
        time.sleep(seconds)
    return recorder


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "mlms.tracing.sampler" in " ".join(child.cmdline())]


def test_every_series_has_its_samples() -> None:
    begun = now()
    recorder = sample("Ramp", interval_s=0.02)
    readings, steps, seldom = recorder.counters
    assert (readings.name, readings.unit, readings.kind, readings.attributes) == ("readings", "1", "gauge", {})
    assert steps.attributes == {"foot": "left", "number": 1}
    assert np.array_equal(readings.value, np.arange(1, len(readings.value) + 1))
    assert np.array_equal(steps.value, 2 * np.arange(len(steps.value))), "a sum counts up from its first sample"
    assert np.array_equal(seldom.value, readings.value[1::2]), "no value, no sample"
    assert np.array_equal(seldom.time_ns, readings.time_ns[1::2])
    assert recorder.notes == ["it: a note"]
    assert begun <= readings.time_ns[0] < readings.time_ns[-1] <= now()
    assert (np.diff(readings.time_ns) > 0).all()


def test_samples_are_an_interval_apart_and_the_last_one_is_from_after_the_end() -> None:
    recorder = Recorder()
    with sampled(recorder, "it", "fakes.sources:Ramp", {}, interval_s=0.1):
        time.sleep(0.55)
        ended = now()
    times = recorder.counters[0].time_ns
    # The machine may be late, never early.
    assert (np.diff(times[:-1]) > 0.09e9).all()
    assert 3 <= len(times) <= 8
    assert times[-1] >= ended


def test_the_sampled_process_does_nothing_for_it() -> None:
    before = threading.active_count()
    with sampled(Recorder(), "it", "fakes.sources:Ramp", {}, interval_s=0.01):
        assert threading.active_count() == before
        (child,) = children()
        assert child.pid != os.getpid()
    assert children() == []


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("Nothing", "off, since there is nothing here: buy one"),
        ("Broken", "off, since its source can't be read: LookupError: no such thing"),
        ("Absent", "off, since its source can't be read: AttributeError: module 'fakes.sources' has no attribute"),
        ("Dead", "off, since the sampling process ended with exit code 4"),
        ("Dying", "no counters, since the sampling process ended with exit code 3"),
    ],
)
def test_what_can_t_be_sampled_is_a_note(name: str, note: str) -> None:
    recorder = sample(name, interval_s=0.01)
    assert recorder.counters == []
    assert recorder.notes[-1].startswith(f"it: {note}")
    assert children() == []


def test_what_was_sampled_before_a_failure_is_kept() -> None:
    recorder = sample("Failing", interval_s=0.01)
    assert recorder.counters[0].value.tolist() == [1, 2]
    assert recorder.notes == ["it: a note", "it: sampling ended early: OSError: it was unplugged"]


def test_a_source_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "START_S", 0.3)
    monkeypatch.setattr(sampling, "END_S", 0.3)
    start = time.monotonic()
    assert "did not begin within 0.3 s" in sample("Hanging", 0.0).notes[-1]
    assert time.monotonic() - start < 10
    monkeypatch.setattr(sampling, "START_S", 30)
    recorder = sample("Stubborn", interval_s=0.01)
    assert "did not end within 0.3 s" in recorder.notes[-1]
    assert recorder.counters == []
    assert children() == []


def test_an_exception_ends_it_and_goes_on() -> None:
    with pytest.raises(ZeroDivisionError), sampled(Recorder(), "it", "fakes.sources:Ramp", {}):
        raise ZeroDivisionError
    assert children() == []


def test_ctrl_c_is_not_for_the_sampling_process() -> None:
    recorder = Recorder()
    with sampled(recorder, "it", "fakes.sources:Ramp", {}, interval_s=0.01):
        (child,) = children()
        child.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert len(recorder.counters[0].value) > 5
    assert recorder.notes == ["it: a note"]
