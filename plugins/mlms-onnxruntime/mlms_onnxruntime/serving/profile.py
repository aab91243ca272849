"""ONNX Runtime's own profile of a session, as spans of the predictions that it ran."""

from __future__ import annotations

import json
import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxruntime import InferenceSession

NODE = "_kernel_time"
"""Ends the names of the events that are a node's computation."""

UNESCAPED = re.compile(r'"name" :"(.*)","args" :')


def clock_of(session: InferenceSession) -> Callable[[], int]:
    """The clock (ns) that ``session``, which was just made, profiles with.

    C++'s high_resolution_clock is the system's clock in one standard library and the monotonic one in another.
    """
    start = session.get_profiling_start_time_ns()
    return min((time.time_ns, time.monotonic_ns, time.perf_counter_ns), key=lambda clock: abs(clock() - start))


def spans_of(
    path: Path, profile_start: int, anchors: Sequence[tuple[int, int]], level: str
) -> list[list[tuple[str, str, int, int, Mapping[str, Any]]]]:
    """The spans of each prediction.

    ``profile_start`` (ns of the profile's clock) is when the profile in ``path`` began; ``anchors`` are the starts of
    the predictions, made one after the other: ns of ``perf_counter_ns``, and of the profile's clock at the same moment.
    What ran before the first is left out.
    """
    starts = [on_clock for _, on_clock in anchors]
    found: list[list[tuple[str, str, int, int, Mapping[str, Any]]]] = [[] for _ in anchors]
    for event in _events(path):
        begin = profile_start + 1000 * event["ts"]
        prediction = bisect_right(starts, begin + 999) - 1  # ts is whole microseconds, rounded down
        if prediction < 0:
            continue
        start = begin + anchors[prediction][0] - anchors[prediction][1]
        end = start + 1000 * event["dur"]
        if event["name"] == "model_run":
            found[prediction].append(("model_run", "framework", start, end, {}))
        elif level == "layer" and event["cat"] == "Node" and event["name"].endswith(NODE):
            attributes = {**_attributes(event["args"]), "thread.id": event["tid"]}
            found[prediction].append((event["name"][: -len(NODE)], "layer", start, end, attributes))
    return found


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a profile, which has one on each line."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("{"):
                text = line.rstrip().rstrip(",")
                try:
                    yield json.loads(text)
                except json.JSONDecodeError:  # earlier versions of ONNX Runtime write the names of nodes as they are
                    yield json.loads(UNESCAPED.sub(lambda found: f'"name" :{json.dumps(found[1])},"args" :', text))


def _attributes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {"mlms.layer.type": arguments.get("op_name", "")}
    for theirs, ours in (("input_type_shape", "input_shapes"), ("output_type_shape", "output_shapes")):
        if theirs in arguments:
            shapes = ["x".join(map(str, shape)) for tensor in arguments[theirs] for shape in tensor.values()]
            attributes[f"mlms.layer.{ours}"] = shapes
    if arguments.get("provider"):
        attributes["onnxruntime.provider"] = arguments["provider"]
    return attributes
