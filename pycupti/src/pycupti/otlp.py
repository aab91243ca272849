"""Columns of spans to OTLP bytes, without an object a span."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pycupti.attribution import Spans
from pycupti.library import core
from pycupti.names import demangle
from pycupti.records import Records

Column = npt.NDArray[Any]
#: Indices into texts.
Texts = tuple[Column, Sequence[str]]

_TYPES = {
    "u1": "PCU_U8",
    "u2": "PCU_U16",
    "u4": "PCU_U32",
    "u8": "PCU_U64",
    "i4": "PCU_I32",
    "i8": "PCU_I64",
    "f4": "PCU_F32",
    "f8": "PCU_F64",
}


class _Columns:
    """Fills C structs from arrays and keeps alive what they point at."""

    def __init__(self, ffi: Any, lib: Any, count: int) -> None:
        self._ffi, self._lib, self._count = ffi, lib, count
        self._alive: list[Any] = []
        self._texts: dict[int, tuple[Any, Any]] = {}

    def keep(self, value: Any) -> Any:
        self._alive.append(value)
        return value

    def numbers(self, column: Any, values: Column) -> None:
        if len(values) != self._count:
            raise ValueError(f"a column has {len(values)} values for {self._count} spans")
        if f"{values.dtype.kind}{values.dtype.itemsize}" not in _TYPES or not values.dtype.isnative:
            values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        self.keep(values)
        column.data = self._ffi.cast("void *", values.__array_interface__["data"][0])
        column.stride = values.strides[0]
        column.type = getattr(self._lib, _TYPES[f"{values.dtype.kind}{values.dtype.itemsize}"])

    def texts(self, column: Any, texts: Texts) -> None:
        indices, strings = texts
        self.numbers(column, indices if indices.dtype == np.uint32 else indices.astype(np.uint32))
        if id(strings) not in self._texts:
            self.keep(strings)
            encoded = [self.keep(self._ffi.from_buffer(text.encode())) for text in strings]
            self._texts[id(strings)] = (
                self._ffi.new("char *[]", [self._ffi.cast("char *", text) for text in encoded]),
                self._ffi.new("uint32_t[]", [len(text) for text in encoded]),
            )
        column.strings, column.lengths = self._texts[id(strings)]
        column.strings_count = len(strings)
        column.type = self._lib.PCU_STRING


def encode(
    *,
    trace_id: bytes,
    span_ids: Column,
    parent_ids: Column,
    starts: Column,
    ends: Column,
    names: Texts,
    kind: int = 1,
    attributes: Mapping[str, Column | Texts] | None = None,
    scope: str = "pycupti",
    scope_version: str = "",
    schema_url: str = "",
) -> bytes:
    """Encode spans, one a row, as the bytes of one OTLP ScopeSpans message.

    Ids are unsigned 64-bit numbers (parent 0: a root), times Unix nanoseconds, `kind` OTLP's span kind (1 internal).
    Attribute columns are integers, floats, or (indices, texts). Field slices of structured arrays are read in place.
    Raises ValueError on columns of unequal length, a bad trace id, or an index without a text.
    """
    if len(trace_id) != 16:
        raise ValueError(f"a trace id has 16 bytes, not {len(trace_id)}")
    module = core()
    ffi, lib = module.ffi, module.lib
    count = len(span_ids)
    columns = _Columns(ffi, lib, count)
    spans = ffi.new("pcu_spans *")
    spans.scope_name = columns.keep(ffi.new("char[]", scope.encode()))
    spans.scope_version = columns.keep(ffi.new("char[]", scope_version.encode()))
    spans.schema_url = columns.keep(ffi.new("char[]", schema_url.encode()))
    spans.trace_id = columns.keep(ffi.new("uint8_t[16]", trace_id))
    for column, values in (
        (spans.span_id, span_ids),
        (spans.parent_id, parent_ids),
        (spans.start, starts),
        (spans.end, ends),
    ):
        columns.numbers(column, values)
    columns.texts(spans.name, names)
    spans.kind, spans.count = kind, count
    filled = columns.keep(ffi.new("pcu_attribute[]", len(attributes or {})))
    for entry, (key, value) in zip(filled, (attributes or {}).items(), strict=True):
        encoded = key.encode()
        entry.key, entry.key_length = columns.keep(ffi.new("char[]", encoded)), len(encoded)
        if isinstance(value, tuple):
            columns.texts(entry.values, value)
        else:
            columns.numbers(entry.values, value)
    spans.attributes, spans.attributes_count = filled, len(filled)
    return _encode(ffi, lib, spans)


def _encode(ffi: Any, lib: Any, spans: Any) -> bytes:
    out = ffi.new("pcu_bytes *")
    code = lib.pcu_encode_spans(spans, out)
    if code == -1:
        raise MemoryError("not enough memory for the encoded spans")
    if code != 0:
        raise ValueError("an index is past the end of its texts")
    try:
        return bytes(ffi.buffer(out.data, out.length))
    finally:
        lib.pcu_bytes_free(out)


def encode_kernels(records: Records, parents: Spans, *, trace_id: bytes, first_span_id: int) -> bytes:
    """Encode kernels as spans under `parents`, numbered from `first_span_id`, launch geometry as attributes."""
    kernels = records.kernels
    attributes: dict[str, Column | Texts] = {
        f"cuda.{field}": kernels[field]
        for field in ("correlation", "device", "stream", "registers", "static_shared", "dynamic_shared", "graph_node")
    }
    for field in ("grid", "block"):
        for axis, letter in enumerate("xyz"):
            attributes[f"cuda.{field}.{letter}"] = kernels[field][:, axis]
    return encode(
        trace_id=trace_id,
        span_ids=np.arange(first_span_id, first_span_id + len(kernels), dtype=np.uint64),
        parent_ids=parents,
        starts=kernels["start"],
        ends=kernels["end"],
        names=(kernels["name"], [demangle(name) for name in records.names]),
        attributes=attributes,
    )
