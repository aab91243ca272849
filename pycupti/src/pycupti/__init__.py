"""NVIDIA CUPTI from Python: GPU activity traces and hardware metrics, without perturbing the program.

Importing this package loads no CUDA library, and works on every machine; `probe()` says what this one offers.
"""

from typing import TYPE_CHECKING, Any

from pycupti import errors, metrics
from pycupti.errors import (
    Conflict,
    CountersBusy,
    CountersRestricted,
    CuptiError,
    DriverError,
    PycuptiError,
    Unavailable,
    UnknownMetric,
)
from pycupti.kinds import DEFAULT_KINDS, Kind
from pycupti.names import demangle
from pycupti.probing import Probe, probe
from pycupti.ranges import RangeMetrics, RangeProfiler
from pycupti.tracer import Stats, Tracer

if TYPE_CHECKING:
    from pycupti import otlp
    from pycupti.attribution import Attribution, attribute, launching_calls
    from pycupti.records import Records, merge

__all__ = [
    "DEFAULT_KINDS",
    "Attribution",
    "Conflict",
    "CountersBusy",
    "CountersRestricted",
    "CuptiError",
    "DriverError",
    "Kind",
    "Probe",
    "PycuptiError",
    "RangeMetrics",
    "RangeProfiler",
    "Records",
    "Stats",
    "Tracer",
    "Unavailable",
    "UnknownMetric",
    "attribute",
    "demangle",
    "errors",
    "launching_calls",
    "merge",
    "metrics",
    "otlp",
    "probe",
]

#: What needs numpy, and where it is: imported when first used.
_LAZY = {
    "Attribution": "attribution",
    "attribute": "attribution",
    "launching_calls": "attribution",
    "Records": "records",
    "merge": "records",
    "otlp": "otlp",
}


def __getattr__(name: str) -> Any:
    """Import what needs numpy."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"pycupti.{_LAZY[name]}")
    return module if name == "otlp" else getattr(module, name)
