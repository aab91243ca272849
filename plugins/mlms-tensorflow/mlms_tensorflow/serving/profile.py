"""Spans of the operations that TensorFlow's executor, or XLA, ran for each prediction, from TensorFlow's profiler."""

import bisect
import contextlib
import re
import tempfile
from pathlib import Path
from time import perf_counter_ns

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

MARK = "mlms prediction"
SESSION = 256
"""Predictions in one session of the profiler, which keeps all it saw in memory until it is stopped."""
NODE = re.compile(r"(?P<name>[A-Za-z0-9.][^:#]*):(?P<type>_?[A-Z]\w*)(#.*)?")
"""How the executor calls the run of a graph's node: "conv1/Relu:_FusedConv2D"."""
INLINED = re.compile(r"^(?:(?:Stateful)?PartitionedCall/)+")
"""What the name of a node begins with where TensorFlow has put a function in the place of its call."""


class Profile:
    """TensorFlow's profiler, on from the start.

    Its clock begins with each session. A mark around each prediction says where that lies on ``perf_counter_ns``.
    """

    def __init__(self, graph):
        """``graph`` tells the shapes of what is run, where it is known."""
        self._shapes = {} if graph is None else _output_shapes(graph)
        self._done = []
        self._begin()

    @contextlib.contextmanager
    def prediction(self):
        """What is run within is one prediction; one that fails has no spans."""
        start = perf_counter_ns()
        self._starts.append(None)  # the mark is there in any case
        with tf.profiler.experimental.Trace(MARK):
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
        tf.profiler.experimental.stop()
        (file,) = Path(self._folder.name).rglob("*.xplane.pb")
        self._done += self._spans(xplane_pb2.XSpace.FromString(file.read_bytes()))
        self._folder.cleanup()
        self._folder = None

    def _begin(self):
        self._starts = []
        self._folder = tempfile.TemporaryDirectory(prefix="mlms-profile-")
        tf.profiler.experimental.start(self._folder.name)

    def _spans(self, space):
        marks, nodes = [], []
        for name, start, end, thread, hlo in _events(space):
            if name == MARK:
                marks.append((start, end))
            elif hlo is not None:
                nodes.append((start, end, thread, hlo, re.sub(r"[.\d]+$", "", hlo)))
            elif found := NODE.fullmatch(name):
                nodes.append((start, end, thread, INLINED.sub("", found["name"]), found["type"]))
        marks.sort()
        spans = [[] for _ in marks]
        for start, end, thread, name, kind in sorted(nodes):
            place = bisect.bisect(marks, (start, float("inf"))) - 1
            if place < 0 or start > marks[place][1] or self._starts[place] is None:
                continue
            shift = self._starts[place] - marks[place][0]
            attributes = {"mlms.layer.type": kind, "thread.id": thread}
            if shapes := self._shapes.get(name):
                attributes["mlms.layer.output_shapes"] = shapes
            spans[place].append((name, "layer", round(start + shift), round(end + shift), attributes))
        return [those for those, start in zip(spans, self._starts, strict=True) if start is not None]


def _events(space):
    """Name, start and end in ns of the session's clock, thread, and the HLO instruction if it is one, of each event."""
    for plane in space.planes:
        if not plane.name.startswith("/host:"):
            continue
        hlo = {key for key, each in plane.stat_metadata.items() if each.name == "hlo_op"}
        for thread, line in enumerate(plane.lines):
            for event in line.events:
                start = line.timestamp_ns + event.offset_ps / 1000
                named = [stat for stat in event.stats if stat.metadata_id in hlo]
                instruction = None
                if named:
                    stat = named[0]
                    instruction = stat.str_value or plane.stat_metadata[stat.ref_value].name
                name = plane.event_metadata[event.metadata_id].name
                yield name, start, start + event.duration_ps / 1000, thread, instruction


def _output_shapes(graph):
    """Output shapes ("1x10") by node, where they are known before it runs."""
    return {
        INLINED.sub("", operation.name): ["x".join(map(str, each.shape.as_list())) for each in operation.outputs]
        for operation in graph.get_operations()
        if all(each.shape.is_fully_defined() for each in operation.outputs)
    }
