"""The activity tracer: what ran on the GPU, when, and which span launched it."""

import atexit
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from pycupti.conflict import conflict
from pycupti.errors import Conflict, check
from pycupti.kinds import DEFAULT_KINDS, Kind
from pycupti.library import core
from pycupti.probing import open_cupti

if TYPE_CHECKING:
    from pycupti.records import Records

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the start. Records emitted by CUPTI = `records` + `dropped` once flushed.

    `calls` counts the API calls handed over, `calls_dropped` those for which there was no memory;
    `rejected` counts buffers refused at the cap; `truncated` buffers that ended inside a record;
    `buffers_outstanding` those that CUPTI has not given back; `decode_ns` is processor time of the thread that decodes.
    """

    records: int
    calls: int
    dropped: int
    calls_dropped: int
    rejected: int
    bad_timestamps: int
    unknown_kinds: int
    truncated: int
    out_of_memory: int
    decode_ns: int
    buffers_given: int
    buffers_returned: int
    buffers_outstanding: int
    buffers_allocated: int


class _Correlation:
    """Opens a span on this thread; made by Tracer.correlate."""

    __slots__ = ("_pop", "_push", "_span")

    def __init__(self, push: Callable[[int], int], pop: Callable[[], int], span: int) -> None:
        self._push, self._pop, self._span = push, pop, span

    def __enter__(self) -> None:
        self._push(self._span)

    def __exit__(self, *_: object) -> None:
        self._pop()


class Tracer:
    """Traces GPU activity between start and stop; one at a time in a process.

    `push(span_id)` and `pop()` open and close a span on the calling thread, at the price of one C call; they return 0,
    12 past 256 open spans (still to be popped), 18 where none is open. `correlate` is the same as a context manager.
    """

    def __init__(
        self,
        kinds: Iterable[Kind] = DEFAULT_KINDS,
        *,
        buffer_mib: float = 4,
        max_buffers: int = 64,
        device_buffers: int = 64,
        all_calls: bool = False,
        graph_nodes: bool = True,
        finalize: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        """Nothing is started, opened or allocated yet.

        `device_buffers` limits CUPTI's own pool of 3.2 MB device buffers, and only takes effect before the first CUDA
        context (0 leaves CUPTI's default). `all_calls` takes every call of the APIs in `kinds`, also those that only
        ask, such as cuCtxGetCurrent: far more, at a far higher cost.
        `finalize` detaches CUPTI when stopping, which takes its last cost away;
        it is unsafe with CUDA graphs before 12.6. `timeout_s` bounds a flush.
        """
        self._kinds = tuple(dict.fromkeys(Kind(kind) for kind in kinds))
        self._buffer_bytes = int(buffer_mib * _MIB)
        if self._buffer_bytes < 4096 or max_buffers < 1:
            raise ValueError("a tracer needs at least one buffer of 4 KiB")
        self._max_buffers = max_buffers
        self._device_buffers = device_buffers
        self._all_calls = all_calls
        self._graph_nodes = graph_nodes
        self._finalize = finalize
        self._timeout_s = timeout_s
        module = core()
        self._ffi, self._lib = module.ffi, module.lib
        self._control = threading.Lock()
        self._started = False
        self._names: tuple[str, ...] = ()
        self._final: Stats | None = None
        self.push = self._lib.pcu_push
        self.pop = self._lib.pcu_pop

    def start(self) -> None:
        """Subscribe to CUPTI and begin; does nothing when this tracer is running.

        Raises Unavailable where the machine can't trace, Conflict when another client holds CUPTI, CuptiError else.
        """
        with self._control:
            if self._started:
                return
            if self._lib.pcu_running():
                raise Conflict(39, "starting the tracer", "another pycupti.Tracer is running: stop it first")
            open_cupti()
            self._subscribe()
            self._started = True
            self._final = None
            _running.add(self)

    def _subscribe(self) -> None:
        kinds = self._ffi.new("uint32_t[]", [int(kind) for kind in self._kinds])
        options = self._ffi.new("pcu_options *")
        options.buffer_bytes = self._buffer_bytes
        options.max_buffers = self._max_buffers
        options.device_buffers = self._device_buffers
        options.kinds, options.kinds_count = kinds, len(self._kinds)
        options.all_calls, options.graph_nodes = self._all_calls, self._graph_nodes
        failed = self._ffi.new("uint32_t *")
        code = self._lib.pcu_start(options, failed)
        action = f"enabling {Kind(failed[0]).name}" if failed[0] else "starting the tracer"
        if code == 39:
            raise conflict(action)
        check(code, action)

    def stop(self) -> None:
        """Disable, flush, unsubscribe; records stay to be drained. Does nothing when this tracer isn't running.

        Raises DriverError when the device was in error, CuptiError when CUPTI was; it has stopped all the same.
        """
        with self._control:
            if not self._started:
                return
            self._started = False
            _running.discard(self)
            if not self._lib.pcu_running():
                return  # a fork: the parent traces, this process doesn't
            code = self._lib.pcu_stop(self._finalize, self._timeout_s)
            self._final = self._read_stats()
            if code != -1:  # buffers that never came back are counted, not an error
                check(code, "stopping the tracer")

    def flush(self) -> bool:
        """Synchronise the devices and bring in every record until now; False when that took too long.

        Not inside a CUDA graph capture, which a synchronise would break.
        """
        with self._control:
            code = self._lib.pcu_flush(self._timeout_s) if self._started else 0
            if code == -1:
                return False
            check(code, "flushing")
            return True

    def drain(self) -> "Records":
        """Hand over what was decoded since the last drain, as arrays without a copy; flush first to have it all."""
        from pycupti.records import adopt

        with self._control:
            tables = self._ffi.new("pcu_tables *")
            self._lib.pcu_drain(tables)
            self._learn_names()
            return adopt(tables, self._names)

    def _learn_names(self) -> None:
        count = self._lib.pcu_names_count()
        if count > len(self._names):
            new = (self._lib.pcu_name(index) for index in range(len(self._names), count))
            self._names += tuple(self._ffi.string(name).decode(errors="replace") for name in new)

    def correlate(self, span_id: int) -> _Correlation:
        """Attribute what this thread launches inside the `with` to a span (an 8-byte id, not 0)."""
        return _Correlation(self.push, self.pop, span_id)

    @property
    def running(self) -> bool:
        """Whether this tracer is running in this process."""
        return self._started and bool(self._lib.pcu_running())

    @property
    def stats(self) -> Stats:
        """Counts so far; after stop, the final ones."""
        return self._final or self._read_stats()

    def _read_stats(self) -> Stats:
        raw = self._ffi.new("pcu_stats *")
        self._lib.pcu_read_stats(raw)
        return Stats(**{name: getattr(raw, name) for name in Stats.__slots__})

    def call_name(self, domain: int, function: int) -> str:
        """Name a row of `calls`, such as cudaLaunchKernel_v7000, by its `domain` and `function`."""
        name = self._lib.pcu_call_name(domain, function)
        return "" if name == self._ffi.NULL else self._ffi.string(name).decode()

    def __enter__(self) -> "Tracer":
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def attach() -> None:
    """Attach CUPTI to this process again after it was finalised; its profiler APIs don't do so by themselves."""
    if core().lib.pcu_finalized():
        with Tracer([Kind.MEMSET]):
            pass


_running: weakref.WeakSet[Tracer] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Leave CUPTI in order at exit, while CUDA is still there to be synchronised."""
    for tracer in list(_running):
        tracer.stop()
