"""Hardware metrics of regions: the Range Profiler."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pycupti.conflict import conflict
from pycupti.errors import Unavailable, check
from pycupti.host import Host
from pycupti.library import core
from pycupti.metrics import chip
from pycupti.probing import METRICS_API, open_cupti
from pycupti.tracer import attach


@dataclass(frozen=True, slots=True)
class RangeMetrics:
    """The metrics of one range: the names pushed, joined by "/", or a kernel's number in launch order."""

    name: str
    values: dict[str, float]


class RangeProfiler:
    """Collects metrics of the ranges pushed inside `measure`, or of each kernel with `per_kernel`.

    Never together with a Tracer: both change how work is submitted. `max_ranges` bounds the ranges of one `measure`,
    `nesting` how deep they nest; a pass is repeated for every level.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        device: int = 0,
        per_kernel: bool = False,
        max_ranges: int = 1024,
        nesting: int = 1,
        finalize: bool = False,
    ) -> None:
        """Nothing is opened before `with`. `finalize` is as for a Tracer."""
        self.names = tuple(names)
        self.passes = 0
        self._device = device
        self._user = not per_kernel
        self._max_ranges = max_ranges
        self._nesting = nesting
        self._finalize = finalize
        module = core()
        self._ffi, self._lib = module.ffi, module.lib

    def __enter__(self) -> "RangeProfiler":
        """Open the counters.

        Raises CountersRestricted, CountersBusy, UnknownMetric or Unavailable.
        """
        if self._lib.pcu_running():
            raise conflict("collecting metrics while a tracer runs")
        if open_cupti() < METRICS_API:
            raise Unavailable("this libcupti has no range profiler", "metrics need CUPTI 12.6 or later")
        attach()
        supported = self._ffi.new("int *")
        check(self._lib.pcu_range_supported(self._device, supported), "asking whether the device has a range profiler")
        if not supported[0]:
            raise Unavailable(f"device {self._device} doesn't support range profiling")
        context = self._ffi.new("void **")
        self._context = context
        code = self._lib.pcu_context(self._device, context)
        if code:
            raise Unavailable(f"no CUDA context on device {self._device}: the driver answered {code}")
        self._host = Host(chip(self._device), self._availability())
        try:
            self._config, self.passes = self._host.configure(self.names)
            self._open()
        except BaseException:
            self._host.__exit__(None, None, None)
            raise
        return self

    def _availability(self) -> Any:
        size = self._ffi.new("size_t *")
        action = "asking which counters are available"
        check(self._lib.pcu_range_availability(self._context[0], self._ffi.NULL, size), action)
        image = self._ffi.new("uint8_t[]", size[0])
        check(self._lib.pcu_range_availability(self._context[0], image, size), action)
        return image

    def _open(self) -> None:
        out = self._ffi.new("pcu_range **")
        check(self._lib.pcu_range_open(self._context[0], out), "enabling the range profiler")
        self._range = out[0]

    def _new_counters(self) -> Any:
        names, _kept = self._host.c_names(self.names)
        size = self._ffi.new("size_t *")
        code = self._lib.pcu_range_counters_size(self._range, names, len(self.names), self._max_ranges, size)
        check(code, "sizing the counter data")
        counters = self._ffi.new("uint8_t[]", size[0])
        check(self._lib.pcu_range_counters_init(self._range, counters, size[0]), "preparing the counter data")
        return counters

    def measure(self, run: Callable[[], object]) -> list[RangeMetrics]:
        """Call `run` once a pass, the same work each time, and return the metrics of its ranges.

        With `per_kernel` it is called once and CUPTI replays each kernel.
        Raises CuptiError, and ValueError when the ranges outnumber `max_ranges`.
        """
        counters = self._new_counters()
        ffi, lib = self._ffi, self._lib
        code = lib.pcu_range_configure(
            self._range,
            self._config,
            ffi.sizeof(self._config),
            counters,
            ffi.sizeof(counters),
            self._max_ranges,
            self._user,
            self._nesting,
        )
        check(code, "configuring the range profiler")
        complete = ffi.new("int *")
        while not complete[0]:
            check(lib.pcu_range_start(self._range), "starting a pass")
            try:
                run()
            finally:
                code = lib.pcu_range_stop(self._range, complete)
            check(code, "ending a pass")
        dropped = ffi.new("size_t *")
        check(lib.pcu_range_decode(self._range, dropped), "decoding the counters")
        if dropped[0]:
            raise ValueError(f"{dropped[0]} ranges didn't fit: raise max_ranges above {self._max_ranges}")
        return list(self._results(counters))

    def _results(self, counters: Any) -> Iterator[RangeMetrics]:
        ffi, lib = self._ffi, self._lib
        count = ffi.new("size_t *")
        check(lib.pcu_range_count(counters, ffi.sizeof(counters), count), "counting the ranges")
        name = ffi.new("const char **")
        for index in range(count[0]):
            check(lib.pcu_range_name(counters, ffi.sizeof(counters), index, name), "naming a range")
            yield RangeMetrics(ffi.string(name[0]).decode(), self._host.evaluate(counters, index, self.names))

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """Mark a range inside `measure`; names must be the same in every pass. Does nothing with `per_kernel`."""
        if not self._user:
            yield
            return
        check(self._lib.pcu_range_push(self._range, name.encode()), f"opening range {name}")
        try:
            yield
        finally:
            check(self._lib.pcu_range_pop(self._range), f"closing range {name}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the counters back."""
        code = self._lib.pcu_range_close(self._range)
        self._host.__exit__(None, None, None)
        code = code or (self._lib.pcu_finalize() if self._finalize else 0)
        if error is None:
            check(code, "disabling the range profiler")
