"""Perfetto's protobuf trace: a track a lane, the begin and the end of each span on it, texts interned.

Counters have a track a series. Field numbers are those of perfetto/protos/perfetto/trace: TracePacket, TrackDescriptor,
CounterDescriptor, TrackEvent, InternedData.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from mlms.tracing import attributes as attribute_text
from mlms.tracing import wire
from mlms.tracing.lanes import lanes
from mlms.tracing.observations import titles
from mlms.tracing.structure import structure

if TYPE_CHECKING:
    from mlms.tracing.observations import Counter
    from mlms.tracing.spans import Spans

_PACKET, _SEQUENCE = 1, wire.integer(10, 1)
_INTERNED, _FLAGS, _EVENT, _TRACK = 12, 13, 11, 60
_CATEGORIES, _NAMES, _KEYS = 1, 2, 3
_CONTINUES = wire.integer(_FLAGS, 2)
_TIME = b"\x40"
_BEGIN, _END, _COUNTER = wire.integer(9, 1), wire.integer(9, 2), wire.integer(9, 4)
_PROCESS_TRACK = 1


def write(spans: Spans, counters: Sequence[Counter], file: IO[bytes]) -> None:
    """Write a Trace message: packets one after the other."""
    tree = structure(spans)
    layout = lanes(tree)
    process = wire.integer(1, int(spans.resource.get("process.pid", 1)))
    service = wire.text(6, str(spans.resource.get("service.name", "mlms")))
    track = wire.data(_TRACK, wire.integer(1, _PROCESS_TRACK) + wire.data(3, process + service))
    file.write(_packet(track + _SEQUENCE + wire.integer(_FLAGS, 1)))  # the sequence starts here
    for lane, name in enumerate(layout.names):
        track = wire.integer(1, _track(lane)) + wire.text(2, name) + wire.integer(5, _PROCESS_TRACK)
        file.write(_packet(wire.data(_TRACK, track) + _SEQUENCE + _CONTINUES))
    open_ends: list[list[tuple[int, bytes]]] = [[] for _ in layout.names]
    closing = [_rest(_END + wire.integer(11, _track(lane))) for lane in range(len(layout.names))]
    texts = _Interned()
    at = 0
    for part in spans.parts("name", "level", "start_ns", "end_ns", "attributes"):
        lane_of = layout.lane[at : at + part.height].tolist()
        at += part.height
        attributes = part["attributes"].fill_null("{}").to_list()
        distinct = list(dict.fromkeys(attributes))
        decoded = dict(zip(distinct, attribute_text.loads_all(distinct), strict=True))
        keys = zip(part["name"].fill_null(""), part["level"], attributes, lane_of, strict=True)
        starts, ends = wire.varints(part["start_ns"].to_numpy()), wire.varints(part["end_ns"].to_numpy())
        times = zip(part["start_ns"].to_list(), part["end_ns"].to_list(), starts, ends, strict=True)
        known: dict[tuple[str, str, str, int], bytes] = {}
        lines = []
        for key, (start, end, start_digits, end_digits) in zip(keys, times, strict=True):
            name, level, text, lane = key
            waiting = open_ends[lane]
            while waiting and waiting[-1][0] <= start:
                lines.append(_packet(_TIME + waiting.pop()[1] + closing[lane]))
            event = known.get(key)
            interned = b""
            if event is None:
                event = known[key] = _rest(
                    wire.integer(3, texts.number(_CATEGORIES, level))
                    + texts.annotations(decoded[text])
                    + _BEGIN
                    + wire.integer(10, texts.number(_NAMES, name))
                    + wire.integer(11, _track(lane))
                )
                interned = texts.new()
            lines.append(_packet(_TIME + start_digits + event + interned))
            waiting.append((end, end_digits))
        file.write(b"".join(lines))
    for waiting, close in zip(open_ends, closing, strict=True):
        file.write(b"".join(_packet(_TIME + digits + close) for _, digits in reversed(waiting)))
    _write_counters(counters, len(layout.names), file)


def _write_counters(counters: Sequence[Counter], lanes_before: int, file: IO[bytes]) -> None:
    for number, (title, counter) in enumerate(
        zip(titles([(one.name, one.attributes) for one in counters]), counters, strict=True), lanes_before
    ):
        described = wire.integer(1, _track(number)) + wire.text(2, title) + wire.integer(5, _PROCESS_TRACK)
        described += wire.data(8, wire.text(6, counter.unit))
        file.write(_packet(wire.data(_TRACK, described) + _SEQUENCE + _CONTINUES))
        head = _COUNTER + wire.integer(11, _track(number))
        samples = zip(wire.varints(counter.time_ns), counter.value.tolist(), strict=True)
        file.write(b"".join(_packet(_TIME + time + _rest(head + wire.double(44, value))) for time, value in samples))


class _Interned:
    """Texts by number; each is written once, with the first packet that uses it."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str], int] = {}
        self._new: list[bytes] = []

    def number(self, kind: int, text: str) -> int:
        known = self._numbers.get((kind, text))
        if known is None:
            known = self._numbers[kind, text] = len(self._numbers) + 1
            self._new.append(wire.data(kind, wire.integer(1, known) + wire.text(2, text)))
        return known

    def new(self) -> bytes:
        """The field interned_data, if there is something to say."""
        made = wire.data(_INTERNED, b"".join(self._new)) if self._new else b""
        self._new.clear()
        return made

    def annotations(self, attributes: Mapping[str, Any]) -> bytes:
        """The fields debug_annotations."""
        return b"".join(
            wire.data(4, wire.integer(1, self.number(_KEYS, key)) + _annotation(value))
            for key, value in attributes.items()
        )


def _annotation(value: Any) -> bytes:
    if isinstance(value, bool):
        return wire.integer(2, value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return wire.integer(4, value)
    if isinstance(value, float):
        return wire.double(5, value)
    if isinstance(value, list):
        return b"".join(wire.data(12, _annotation(item)) for item in value)
    return wire.text(6, str(value))


def _track(lane: int) -> int:
    return _PROCESS_TRACK + 1 + lane


def _rest(event: bytes) -> bytes:
    """All of an event's packet but its time."""
    return wire.data(_EVENT, event) + _SEQUENCE + _CONTINUES


def _packet(fields: bytes) -> bytes:
    return wire.data(_PACKET, fields)
