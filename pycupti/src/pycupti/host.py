"""CUPTI's Profiler Host: which metrics a chip has, how many passes a set takes, what counters mean.

Planning needs no GPU, only a libcupti of 12.6 or later; `metrics` runs TASKS in a subprocess for that reason.
"""

import difflib
from types import TracebackType
from typing import Any

from pycupti.errors import PycuptiError, Unavailable, UnknownMetric, check
from pycupti.library import core

#: CUPTI's three types of metric, by number.
METRIC_TYPES = ("counter", "ratio", "throughput")
_INVALID_METRIC = (1, 17)


class Host:
    """A Profiler Host object for one chip; `availability` narrows it to what a real device permits."""

    def __init__(self, chip: str, availability: Any = None) -> None:
        """Open; `chip` is upper case, such as GH100."""
        module = core()
        self._ffi, self._lib = module.ffi, module.lib
        self.chip = chip
        self._availability = availability
        self._object = self._open()

    def _open(self) -> Any:
        out = self._ffi.new("pcu_host **")
        image = self._availability if self._availability is not None else self._ffi.NULL
        check(self._lib.pcu_host_open(self.chip.encode(), image, out), f"opening the profiler host for {self.chip}")
        return out[0]

    def __enter__(self) -> "Host":
        """Return self."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self._lib.pcu_host_close(self._object)

    def _strings(self, values: Any, count: int) -> list[str]:
        return [self._ffi.string(values[index]).decode() for index in range(count)]

    def metrics(self) -> dict[str, list[str]]:
        """Return the base metrics by type."""
        found = {}
        for number, name in enumerate(METRIC_TYPES):
            names, count = self._ffi.new("const char ***"), self._ffi.new("size_t *")
            check(self._lib.pcu_host_base_metrics(self._object, number, names, count), f"listing {name} metrics")
            found[name] = sorted(self._strings(names[0], count[0]))
        return found

    def submetrics(self, metric: str) -> list[str]:
        """Return the suffixes of a base metric, such as `.sum` and `.avg.pct_of_peak_sustained_active`."""
        kinds = [kind for kind, names in self.metrics().items() if metric in names]
        if not kinds:
            raise UnknownMetric((metric,), self.chip, self._nearest((metric,)))
        names, count = self._ffi.new("const char ***"), self._ffi.new("size_t *")
        number = METRIC_TYPES.index(kinds[0])
        code = self._lib.pcu_host_submetrics(self._object, number, metric.encode(), names, count)
        check(code, f"listing what {metric} offers")
        return sorted(self._strings(names[0], count[0]))

    def describe(self, metric: str) -> str:
        """Return CUPTI's description of a metric."""
        text, kind = self._ffi.new("const char **"), self._ffi.new("int *")
        check(self._lib.pcu_host_describe(self._object, metric.encode(), text, kind), f"describing {metric}")
        return "" if text[0] == self._ffi.NULL else self._ffi.string(text[0]).decode()

    def c_names(self, names: tuple[str, ...]) -> tuple[Any, list[Any]]:
        """Return a C array of the names, and what keeps it alive."""
        kept = [self._ffi.new("char[]", name.encode()) for name in names]
        return self._ffi.new("const char *[]", kept), kept

    def _add(self, names: tuple[str, ...]) -> int:
        array, _kept = self.c_names(names)
        return int(self._lib.pcu_host_add(self._object, array, len(names)))

    def _known(self, name: str) -> bool:
        """Whether one name alone is accepted, on a host object of its own."""
        with Host(self.chip, self._availability) as other:
            return other._add((name,)) == 0

    def configure(self, names: tuple[str, ...]) -> tuple[Any, int]:
        """Return the configuration image for the metrics and its number of passes. Once for a host object.

        Raises UnknownMetric naming all that the chip lacks: CUPTI refuses the list as a whole.
        """
        code = self._add(names)
        if code in _INVALID_METRIC:
            bad = tuple(name for name in names if not self._known(name))
            if bad:
                raise UnknownMetric(bad, self.chip, self._nearest(bad))
        check(code, f"adding {len(names)} metrics for {self.chip}")
        size, passes = self._ffi.new("size_t *"), self._ffi.new("size_t *")
        check(self._lib.pcu_host_config_size(self._object, size), "sizing the metric configuration")
        image = self._ffi.new("uint8_t[]", size[0])
        check(self._lib.pcu_host_config(self._object, image, size[0], passes), "building the metric configuration")
        return image, passes[0]

    def _nearest(self, bad: tuple[str, ...]) -> tuple[str, ...]:
        known = [name for names in self.metrics().values() for name in names]
        found = (difflib.get_close_matches(name.split(".")[0], known, n=1) for name in bad)
        return tuple(match for matches in found for match in matches)

    def evaluate(self, counters: Any, index: int, names: tuple[str, ...]) -> dict[str, float]:
        """Return the metrics' values in one range of a counter-data image."""
        array, _kept = self.c_names(names)
        values = self._ffi.new("double[]", len(names))
        code = self._lib.pcu_host_evaluate(
            self._object, counters, self._ffi.sizeof(counters), index, array, len(names), values
        )
        check(code, f"evaluating range {index}")
        return dict(zip(names, values, strict=True))


def _open_library(path: str) -> Any:
    module = core()
    message = module.ffi.new("char[1024]")
    if module.lib.pcu_cupti_open(path.encode(), message, 1024) != 0:
        raise Unavailable(f"libcupti can't be loaded: {module.ffi.string(message).decode(errors='replace')}")
    return module


def _chips(path: str) -> Any:
    module = _open_library(path)
    names, count = module.ffi.new("const char *const **"), module.ffi.new("size_t *")
    check(module.lib.pcu_host_chips(names, count), "listing the chips")
    return sorted(module.ffi.string(names[0][index]).decode() for index in range(count[0]))


def _available(path: str, chip: str) -> Any:
    _open_library(path)
    with Host(chip) as host:
        return host.metrics()


def _submetrics(path: str, chip: str, metric: str) -> Any:
    _open_library(path)
    with Host(chip) as host:
        return host.submetrics(metric)


def _plan(path: str, chip: str, names: list[str]) -> Any:
    _open_library(path)
    with Host(chip) as host:
        return host.configure(tuple(names))[1]


def _guarded(task: Any) -> Any:
    def run(**arguments: Any) -> Any:
        try:
            return {"value": task(**arguments)}
        except PycuptiError as error:
            return {"error": type(error).__name__, "arguments": error.arguments()}

    return run


#: What the subprocess can be asked.
TASKS = {
    "chips": _guarded(_chips),
    "available": _guarded(_available),
    "submetrics": _guarded(_submetrics),
    "plan": _guarded(_plan),
}
