"""OTLP JSON in OpenTelemetry's file format: a TracesData object a line.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: identifiers are hexadecimal, integers are text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

from mlms.tracing import attributes as attribute_text
from mlms.tracing.levels import LEVEL_ATTRIBUTE

if TYPE_CHECKING:
    from mlms.tracing.spans import Spans

LINE_SPANS = 4096
_STATUS = {"ok": 1, "error": 2}


def write(spans: Spans, file: IO[bytes]) -> None:
    """Write a line for every few thousand spans."""
    scope = {"name": "mlms", "version": str(spans.resource.get("service.version", ""))}
    about = json.dumps({"attributes": _key_values(spans.resource)})
    head = f'{{"resourceSpans":[{{"resource":{about},"scopeSpans":[{{"scope":{json.dumps(scope)},"spans":['
    attributes = lru_cache(maxsize=4096)(_attributes)
    for part in spans.parts():
        for lines in part.iter_slices(LINE_SPANS):
            made = [_span(*row, attributes=attributes(row[4], row[9])) for row in lines.iter_rows()]
            file.write(f"{head}{','.join(made)}]}}]}}]}}\n".encode())


def _span(
    trace_id: str,
    span_id: str,
    parent_id: str | None,
    name: str | None,
    level: str,
    start_ns: int,
    end_ns: int,
    status: str,
    message: str | None,
    text: str | None,
    *,
    attributes: str,
) -> str:
    parent = f'"parentSpanId":"{parent_id}",' if parent_id else ""
    state: dict[str, Any] = {"code": _STATUS[status]} if status in _STATUS else {}
    if state and message:
        state["message"] = message
    return (
        f'{{"traceId":"{trace_id}","spanId":"{span_id}",{parent}"name":{json.dumps(name or "")},"kind":1,'
        f'"startTimeUnixNano":"{start_ns}","endTimeUnixNano":"{end_ns}","attributes":{attributes},'
        f'"status":{json.dumps(state)}}}'
    )


def _attributes(level: str, text: str | None) -> str:
    return json.dumps(_key_values({LEVEL_ATTRIBUTE: level, **attribute_text.loads(text or "{}")}))


def _key_values(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float):
        if math.isfinite(value):
            return {"doubleValue": value}
        return {"doubleValue": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
