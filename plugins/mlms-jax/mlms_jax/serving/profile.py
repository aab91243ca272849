"""Spans of the instructions of the compiled function that XLA ran for each prediction, from JAX's profiler."""

import bisect
import contextlib
import re
import tempfile
from pathlib import Path
from time import perf_counter_ns

import jax

MARK = "mlms prediction"
SESSION = 256
"""Predictions in one session of the profiler, which keeps all it saw in memory until it is stopped."""


class Profile:
    """JAX's profiler, on from the start.

    Its clock begins with each session. A mark around each prediction says where that lies on ``perf_counter_ns``.
    """

    def __init__(self):
        self._done = []
        self._begin()

    @contextlib.contextmanager
    def prediction(self):
        """What is run within is one prediction; one that fails has no spans."""
        start = perf_counter_ns()
        self._starts.append(None)  # the mark is there in any case
        with jax.profiler.TraceAnnotation(MARK):
            yield
        self._starts[-1] = start

    def take(self):
        """The spans of whole sessions, a list for each prediction."""
        if self._folder is not None and len(self._starts) >= SESSION:
            self.stop()
            self._begin()
        done, self._done = self._done, []
        return done

    def stop(self):
        if self._folder is None:
            return
        jax.profiler.stop_trace()
        (file,) = Path(self._folder.name).rglob("*.xplane.pb")
        self._done += self._spans(jax.profiler.ProfileData.from_file(str(file)))
        self._folder.cleanup()
        self._folder = None

    def _begin(self):
        self._starts = []
        self._folder = tempfile.TemporaryDirectory(prefix="mlms-profile-")
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # every Python call otherwise, many times what is looked for
        jax.profiler.start_trace(self._folder.name, profiler_options=options)

    def _spans(self, data):
        marks, instructions = [], []
        for plane in data.planes:
            for thread, line in enumerate(plane.lines):
                for event in line.events:
                    start, end = event.start_ns, event.start_ns + event.duration_ns
                    if event.name == MARK:
                        marks.append((start, end))
                    elif not event.name.startswith("end: ") and (name := dict(event.stats).get("hlo_op")):
                        instructions.append((start, end, thread, str(name)))
        marks.sort()
        spans = [[] for _ in marks]
        for start, end, thread, name in sorted(instructions):
            place = bisect.bisect(marks, (start, float("inf"))) - 1
            if place < 0 or start > marks[place][1] or self._starts[place] is None:
                continue
            shift = self._starts[place] - marks[place][0]
            attributes = {"mlms.layer.type": re.sub(r"[.\d]+$", "", name), "thread.id": thread}
            spans[place].append((name, "layer", round(start + shift), round(end + shift), attributes))
        return [those for those, start in zip(spans, self._starts, strict=True) if start is not None]
