"""What pycupti recorded, as activities of a trace: kernels, copies, memsets, and the CUDA calls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mlms.builtins.cupti.table import Attributes, chosen, constant, where
from mlms.tracing.observations import Activities
from pycupti import Records, attribute, demangle, launching_calls

LEVEL = "library"
DIRECTIONS = (None, "HtoD", "DtoH", "HtoA", "AtoH", "AtoA", "AtoD", "DtoA", "DtoD", "HtoH", "PtoP")
"""CUPTI's kinds of copies, by number: from (H)ost, (D)evice, (A)rray or (P)eer to another."""
MEMORIES = (None, "pageable", "pinned", "device", "array", "managed", "device_static", "managed_static")
APIS = (None, "driver", "runtime")

_VERSION = re.compile(r"(_v\d+|_pt[sd]z|_ptds)+$")

Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.void]
Columns = dict[str, npt.NDArray[Any]]
CallName = Callable[[int, int], str]


def activities(records: Records, call_name: CallName) -> Iterator[Activities]:
    """Each kind of work with times, below the span that was open when it was launched.

    ``call_name`` names a call by its domain and function. Work without times, which CUPTI gives when its buffers run
    out, is left out, and so is what was launched before the first span opened: the model was being described then.
    """
    spans = attribute(records)
    calls = _CallNames(records, call_name)
    opened = records.calls["start"][spans.calls != 0]
    began = opened.min() if len(opened) else 0
    for kind, rows, launched_in in (
        (_kernels, records.kernels, spans.kernels),
        (_copies, records.copies, spans.copies),
        (_sets, records.sets, spans.sets),
    ):
        by = launching_calls(records, rows)
        kept = (rows["start"] > 0) & (rows["end"] >= rows["start"]) & (_launched(records, rows, by) >= began)
        if kept.any():
            yield kind(records, rows[kept], launched_in[kept].astype(np.int64), by[kept], calls)
    kept = records.calls["start"] >= began
    if kept.any():
        yield _calls(records.calls[kept], spans.calls[kept].astype(np.int64), calls, kept)


def short_call_name(name: str) -> str:
    """A call as the program wrote it.

    >>> short_call_name("cudaLaunchKernel_ptsz_v7000")
    'cudaLaunchKernel'
    """
    return _VERSION.sub("", name)


def _launched(records: Records, rows: Rows, by: Integers) -> npt.NDArray[np.uint64]:
    """When each row was launched; where its call isn't known, when it ran."""
    if not len(records.calls):
        return rows["start"]
    return np.where(by >= 0, records.calls["start"][by], rows["start"])


class _CallNames:
    """The names of calls: ``names``, and for each row of the table its position there."""

    def __init__(self, records: Records, call_name: CallName) -> None:
        calls = records.calls
        code = (calls["domain"].astype(np.int64) << 32) + calls["function"]
        distinct, self.place = np.unique(code, return_inverse=True)
        self.names = [short_call_name(call_name(int(each) >> 32, int(each) & 0xFFFFFFFF)) for each in distinct]

    def of(self, positions: Integers) -> npt.NDArray[Any]:
        """The names of these rows of the table, none for -1."""
        if not len(self.place):
            return constant(None, len(positions))
        return chosen(self.names, np.where(positions >= 0, self.place[positions], len(self.names)))


def _kernels(records: Records, rows: Rows, launched_in: Integers, by: Integers, calls: _CallNames) -> Activities:
    distinct, name = np.unique(rows["name"], return_inverse=True)
    columns = _work("kernel", records, rows, by, calls) | {
        "mlms.gpu.grid": rows["grid"],
        "mlms.gpu.block": rows["block"],
        "mlms.gpu.registers": rows["registers"],
        "mlms.gpu.static_shared_bytes": rows["static_shared"],
        "mlms.gpu.dynamic_shared_bytes": rows["dynamic_shared"],
        "mlms.gpu.local_bytes": rows["local_per_thread"],
    }
    names = [demangle(records.names[each]) for each in distinct]
    return _activities(names, name, rows, launched_in, columns)


def _copies(records: Records, rows: Rows, launched_in: Integers, by: Integers, calls: _CallNames) -> Activities:
    direction = np.where(rows["direction"] < len(DIRECTIONS), rows["direction"], 0)
    peer = direction == DIRECTIONS.index("PtoP")
    columns = _work("memcpy", records, rows, by, calls) | {
        "mlms.gpu.bytes": rows["bytes"],
        "mlms.gpu.direction": chosen(DIRECTIONS, direction),
        "mlms.gpu.source": _memory(rows["source_kind"]),
        "mlms.gpu.destination": _memory(rows["destination_kind"]),
        "mlms.gpu.source_device": where(peer, rows["source_device"]),
        "mlms.gpu.destination_device": where(peer, rows["destination_device"]),
        "mlms.gpu.async": rows["is_async"] != 0,
    }
    names = [f"memcpy {each}" if each else "memcpy" for each in DIRECTIONS]
    return _activities(names, direction, rows, launched_in, columns)


def _sets(records: Records, rows: Rows, launched_in: Integers, by: Integers, calls: _CallNames) -> Activities:
    columns = _work("memset", records, rows, by, calls) | {
        "mlms.gpu.bytes": rows["bytes"],
        "mlms.gpu.value": rows["value"],
        "mlms.gpu.destination": _memory(rows["memory_kind"]),
        "mlms.gpu.async": rows["is_async"] != 0,
    }
    return _activities(["memset"], np.zeros(len(rows), np.int64), rows, launched_in, columns)


def _calls(rows: Rows, launched_in: Integers, calls: _CallNames, kept: npt.NDArray[np.bool_]) -> Activities:
    columns: Columns = {
        "mlms.cuda.api": chosen(APIS, rows["domain"]),
        "mlms.cuda.correlation_id": rows["correlation"],
        "mlms.cuda.result": where(rows["result"] != 0, rows["result"]),
        "thread.id": rows["thread"],
    }
    return _activities(calls.names, calls.place[kept], rows, launched_in, columns)


def _work(kind: str, records: Records, rows: Rows, by: Integers, calls: _CallNames) -> Columns:
    """The attributes that all work on a device has."""
    thread = records.calls["thread"][by] if len(records.calls) else by
    return {
        "mlms.gpu.activity": constant(kind, len(rows)),
        "mlms.gpu.device": rows["device"],
        "mlms.gpu.stream": rows["stream"],
        "mlms.gpu.graph_node": where(rows["graph_node"] != 0, rows["graph_node"]),
        "mlms.cuda.correlation_id": rows["correlation"],
        "mlms.cuda.call": calls.of(by),
        "thread.id": where(by >= 0, thread),
    }


def _memory(kinds: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return chosen(MEMORIES, np.where(kinds < len(MEMORIES), kinds, 0))


def _activities(
    names: list[str], name: npt.NDArray[Any], rows: Rows, launched_in: Integers, columns: Columns
) -> Activities:
    return Activities(
        level=LEVEL,
        names=names,
        name=name.astype(np.int64),
        start_ns=rows["start"].astype(np.int64),
        end_ns=rows["end"].astype(np.int64),
        launched_in=launched_in,
        attributes=Attributes(columns, len(rows)),
    )
