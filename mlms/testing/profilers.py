"""The contract of a profiler: ``mlms.hooks.Profiler``."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from mlms import api
from mlms.hooks import Context, Profiler, Replays
from mlms.testing.components import check_component, make, registered
from mlms.tracing.clock import now
from mlms.tracing.levels import LEVELS, depth
from mlms.tracing.recorder import Recorder

OBSERVED_S = 0.5


class ProfilerContract:
    """Derive a class from it with ``profiler``."""

    profiler: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def made(self) -> Profiler:
        component = registered("profiler", self.profiler).component
        found: Profiler = make(component, self.options, Context(labels=api.load_catalog().labels))
        return found

    def test_component(self) -> None:
        check_component(registered("profiler", self.profiler).component, self.profiler)

    def test_level(self, made: Profiler) -> None:
        assert isinstance(made, Profiler), "a profiler has level and attach()"
        below = LEVELS[depth("model") + 1 :]
        assert made.level in below, f"the level '{made.level}' is none of {', '.join(below)}"

    def test_it_observes_or_says_why_not(self, made: Profiler) -> None:
        recorder = Recorder()
        begun, threads = now(), threading.active_count()
        with made.attach(recorder):
            assert recorder.counters == [], "what a profiler saw is given when its context ends, not before"
            assert threading.active_count() == threads, "nothing may run in the measuring process: sample from another"
            time.sleep(OBSERVED_S)
        seen = recorder.counters or recorder.activities
        assert seen or recorder.notes or isinstance(made, Replays), (
            f"nothing was observed in {OBSERVED_S} s, and no note says why"
        )
        for note in recorder.notes:
            assert note.startswith(f"{self.profiler}: "), f"a note must begin with '{self.profiler}: ': {note!r}"
            assert "\n" not in note, f"a note must be one line: {note!r}"
        told_apart = {(one.name, json.dumps(dict(one.attributes), sort_keys=True)) for one in recorder.counters}
        assert len(told_apart) == len(recorder.counters), "two counters have the same name and attributes"
        for counter in recorder.counters:
            name = counter.name
            assert counter.kind in ("gauge", "sum"), f"{name} must be a gauge or a sum, not {counter.kind!r}"
            assert counter.unit, f"{name} has no unit; 1 is that of a bare number"
            assert counter.time_ns.shape == counter.value.shape, f"{name} has not one time for each value"
            assert len(counter.value), f"{name} has no values"
            within = begun <= counter.time_ns[0] <= counter.time_ns[-1] <= now()
            assert within, f"{name} has times outside of the observation"
            assert (np.diff(counter.time_ns) > 0).all(), f"the times of {name} don't ascend"
            assert np.isfinite(counter.value).all(), f"{name} has values that are no numbers: leave these out"
            if counter.kind == "sum":
                assert counter.value[0] == 0, f"the sum {name} must begin with 0"
                assert (np.diff(counter.value) >= 0).all(), f"the sum {name} goes down"

    def test_errors_pass_through(self, made: Profiler) -> None:
        with pytest.raises(ZeroDivisionError), made.attach(Recorder()):
            raise ZeroDivisionError
