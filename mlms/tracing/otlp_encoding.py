"""Span tables as OTLP protobuf, encoded in bulk to the bytes that the official library would write.

A message object a span costs about 20 µs. Here what many spans share (names, attributes, lengths) is encoded once for
each distinct value, what all spans have (identifiers, times) is laid out by column, and a request is one join of the
pieces. Field numbers are those of opentelemetry/proto/{common,resource,trace}/v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlms.tracing import attributes as attribute_text
from mlms.tracing import wire
from mlms.tracing.levels import LEVEL_ATTRIBUTE
from mlms.tracing.structure import bad_identifiers

if TYPE_CHECKING:
    import polars as pl

CHUNK_SPANS = 10_000
CHUNK_BYTES = 1 << 20
"""Receivers refuse messages over 4 MiB; less than that shows progress on slow links."""

_STATUS = {"unset": 0, "ok": 1, "error": 2}
_KIND_INTERNAL = wire.integer(6, 1)
_TIMES = np.dtype([("start_tag", "u1"), ("start", "<u8"), ("end_tag", "u1"), ("end", "<u8")])
_START_TAG, _END_TAG = 7 << 3 | 1, 8 << 3 | 1
_MARGIN_BYTES = 64
"""More than the tags and lengths of the messages around a request's spans take up."""

_SMALL = 1 << 21
"""Integers below this have three digits of base 128 at most."""

_Lengths: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as bytes, which is also a TracesData or MetricsData, and the number of spans or data points in it."""

    data: bytes
    items: int


def encode(frames: Iterable[pl.DataFrame], resource: Mapping[str, Any]) -> Iterator[Request]:
    """Requests of at most ``CHUNK_SPANS`` spans and ``CHUNK_BYTES`` bytes, in the order of the frames' rows.

    A single span that is larger has a request of its own.

    Raises:
        StorageError: identifiers or attributes of the spans are none.
    """
    about = b"".join(wire.data(1, key_value(key, value)) for key, value in resource.items())
    version = str(resource.get("service.version", ""))
    scope = wire.text(1, "mlms") + (wire.text(2, version) if version else b"")
    resource_field, scope_field = wire.data(1, about), wire.data(1, scope)
    room = CHUNK_BYTES - len(resource_field) - len(scope_field) - _MARGIN_BYTES
    for part in chain.from_iterable(frame.iter_slices(CHUNK_SPANS) for frame in frames):
        pieces, lengths = _spans(part)
        for first, last in _cuts(lengths, room):
            spans = b"".join(chain.from_iterable(pieces[first:last]))
            yield Request(wire.data(1, resource_field + wire.data(2, scope_field + spans)), last - first)


def key_value(key: str, value: Any) -> bytes:
    """A KeyValue message."""
    return (wire.text(1, key) if key else b"") + wire.data(2, any_value(value))


def any_value(value: Any) -> bytes:
    """An AnyValue message; what it has no type for becomes text."""
    if isinstance(value, str):
        return wire.text(1, value)
    if isinstance(value, bool):
        return wire.integer(2, value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return wire.integer(3, value)
    if isinstance(value, float):
        return wire.double(4, value)
    if isinstance(value, Sequence):
        return wire.data(5, b"".join(wire.data(1, any_value(item)) for item in value))
    return wire.text(1, str(value))


def _spans(frame: pl.DataFrame) -> tuple[list[tuple[bytes, ...]], _Lengths]:
    """For each span its field in ScopeSpans, in pieces, and that field's length."""
    identifiers = _identifiers(frame)
    names = frame["name"].fill_null("").to_list()
    named = {name: (wire.text(5, name) if name else b"") + _KIND_INTERNAL for name in set(names)}
    middles = [named[name] for name in names]
    tails = _tails(frame)
    bodies: _Lengths = np.fromiter(map(len, identifiers), np.int64, len(names))
    bodies += np.fromiter(map(len, middles), np.int64, len(names))
    bodies += np.fromiter(map(len, tails), np.int64, len(names)) + _TIMES.itemsize
    distinct, which = np.unique(bodies, return_inverse=True)
    heads = [b"\x12" + wire.varint(int(length)) for length in distinct]
    lengths: _Lengths = bodies + np.array([len(head) for head in heads], np.int64)[which]
    opened = [heads[index] for index in which.tolist()]
    return list(zip(opened, identifiers, middles, _times(frame), tails, strict=True)), lengths


def _identifiers(frame: pl.DataFrame) -> list[bytes]:
    """The fields trace_id, span_id and parent_span_id."""
    import polars as pl

    parent = pl.col("parent_id").fill_null("")
    lengths = frame.select(
        trace=pl.col("trace_id").str.len_bytes() == 32,
        span=pl.col("span_id").str.len_bytes() == 16,
        parent=parent.str.len_bytes().is_in([0, 16]),
    )
    if not all(lengths[name].all(ignore_nulls=False) for name in lengths.columns):
        raise bad_identifiers()
    above = pl.when(parent == "").then(pl.lit("")).otherwise(pl.lit("2208") + parent)
    digits = pl.lit("0a10") + pl.col("trace_id") + pl.lit("1208") + pl.col("span_id") + above
    try:
        made: list[bytes] = frame.select(digits.str.decode("hex")).to_series().to_list()
    except pl.exceptions.ComputeError as error:
        raise bad_identifiers() from error
    return made


def _times(frame: pl.DataFrame) -> list[bytes]:
    """The fields start_time_unix_nano and end_time_unix_nano."""
    times = np.empty(frame.height, _TIMES)
    times["start_tag"], times["end_tag"] = _START_TAG, _END_TAG
    times["start"], times["end"] = frame["start_ns"].to_numpy(), frame["end_ns"].to_numpy()
    data, size = times.tobytes(), _TIMES.itemsize
    return [data[at : at + size] for at in range(0, len(data), size)]


def _tails(frame: pl.DataFrame) -> list[bytes]:
    """The fields attributes and status."""
    rows = list(
        zip(*(frame[name].to_list() for name in ("level", "attributes", "status", "status_message")), strict=True)
    )
    distinct = list(dict.fromkeys(rows))
    levels = {level: wire.data(9, key_value(LEVEL_ATTRIBUTE, level)) for level in {row[0] for row in distinct}}
    encoded = _Attributes()
    made = {}
    for row, found in zip(distinct, attribute_text.loads_all([row[1] or "{}" for row in distinct]), strict=True):
        level, _, status, message = row
        tail = levels[level] + encoded.fields(found)
        if code := _STATUS.get(status, 0):
            tail += wire.data(15, (wire.text(2, message) if message else b"") + wire.integer(3, code))
        made[row] = tail
    return [made[row] for row in rows]


class _Attributes:
    """Encodes attributes where many have the same keys and few texts: spans' own figures are integers."""

    def __init__(self) -> None:
        self._integers: dict[str, list[bytes]] = {}
        self._texts: dict[tuple[str, str], bytes] = {}

    def fields(self, attributes: Mapping[str, Any]) -> bytes:
        """The fields of all attributes of one span."""
        made = []
        for key, value in attributes.items():
            if value.__class__ is int and 0 <= value < _SMALL:
                digits = (
                    bytes((value,))
                    if value < 1 << 7
                    else bytes((value & 127 | 128, value >> 7))
                    if value < 1 << 14
                    else bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
                )
                made.append(self._before_integer(key)[len(digits)] + digits)
            elif value.__class__ is str:
                made.append(self._text(key, value))
            else:
                made.append(wire.data(9, key_value(key, value)))
        return b"".join(made)

    def _before_integer(self, key: str) -> list[bytes]:
        """All that comes before an integer's digits, by their number."""
        heads = self._integers.get(key)
        if heads is None:
            whole = [wire.data(9, key_value(key, value)) for value in (0, 0, 1 << 7, 1 << 14)]
            heads = self._integers[key] = [field[: len(field) - count] for count, field in enumerate(whole)]
        return heads

    def _text(self, key: str, value: str) -> bytes:
        field = self._texts.get((key, value))
        if field is None:
            field = self._texts[key, value] = wire.data(9, key_value(key, value))
        return field


def _cuts(lengths: _Lengths, room: int) -> Iterator[tuple[int, int]]:
    """Where to cut rows of these lengths so that each part has ``room``, or is a single row."""
    ends = np.cumsum(lengths)
    first = used = 0
    while first < len(ends):
        last = int(np.searchsorted(ends, used + room, side="right"))
        last = max(last, first + 1)
        yield first, last
        first, used = last, int(ends[last - 1])
