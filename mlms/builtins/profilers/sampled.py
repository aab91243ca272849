"""A profiler that is a source of figures, sampled by a process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mlms.hooks import Component, Context, Profiler
from mlms.manifests.durations import seconds
from mlms.tracing.sampling import INTERVAL_S, sampled

if TYPE_CHECKING:
    from mlms.tracing.recorder import Recorder

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "interval": {
            "description": "Time between two samples. Seconds as a number, or with a unit: '50ms', '1s'.",
            "anyOf": [
                {"type": "number", "minimum": 0.01, "maximum": 3600},
                {"type": "string", "pattern": "^[1-9][0-9]{1,6}ms$"},
                {"type": "string", "pattern": "^(0\\.(0[1-9]|[1-9])[0-9]*|[1-9][0-9]{0,3}(\\.[0-9]+)?)s$"},
            ],
            "default": f"{INTERVAL_S * 1000:g}ms",
        }
    },
}


class Sampled:
    """Samples ``source``, which is told the process that the model runs in and the UUID of the GPU that it is on.

    ``worker_pid`` is that process where it isn't this one.
    """

    level: str = "hardware"

    def __init__(
        self, name: str, source: str, interval_s: float, device_uuid: str | None, worker_pid: int | None
    ) -> None:
        self.name = name
        self.source = source
        self.interval_s = interval_s
        self.device_uuid = device_uuid
        self.worker_pid = worker_pid

    def attach(self, recorder: Recorder) -> AbstractContextManager[None]:
        """Sample from a process of its own for as long as the context is open."""
        told = {"pid": self.worker_pid or os.getpid(), "device_uuid": self.device_uuid}
        return sampled(recorder, self.name, self.source, told, self.interval_s)


class SampledOnGpus(Sampled):
    """The same, on by itself only where the model is on an NVIDIA GPU."""

    devices: str = "cuda"


def component(name: str, summary: str, source: str, kind: type[Sampled] = Sampled) -> Component[Profiler]:
    """The profiler ``name`` of the ``Source`` that ``source`` ("module:attribute") makes."""

    def make(options: Mapping[str, Any], context: Context) -> Profiler:
        return kind(name, source, seconds(options.get("interval", INTERVAL_S)), context.device_uuid, context.worker_pid)

    return Component(name, make, summary, OPTIONS)
