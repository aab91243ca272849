"""Span attributes as JSON text, with every type kept: bool, int, float, str, and lists of these.

JSON has no NaN or infinities; these floats, and only they, are written as an object: ``{"float": "nan"}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from mlms.errors import StorageError

Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | Sequence[Scalar]


def dumps(attributes: Mapping[str, Any]) -> str:
    """Attributes as one JSON object.

    Tuples become lists; None is left out, since OpenTelemetry knows no null; values of other types become their text.
    """
    plain = {str(key): _plain(value) for key, value in attributes.items() if value is not None}
    return json.dumps(plain, allow_nan=False, separators=(",", ":"))


def loads(text: str) -> dict[str, Any]:
    """The attributes that ``dumps`` wrote.

    Raises:
        StorageError: this is no JSON object.
    """
    return loads_all([text])[0]


def loads_all(texts: Sequence[str]) -> list[dict[str, Any]]:
    """What ``loads`` gives for each text, read in one go: several times faster where there are many.

    Raises:
        StorageError: one of them is no JSON object.
    """
    joined = f"[{','.join(texts)}]"
    try:
        found = json.loads(joined)
    except ValueError:
        found = []
    if len(found) != len(texts) or not all(isinstance(attributes, dict) for attributes in found):
        raise StorageError(
            "the attributes of some spans are no JSON objects",
            hint="the table was written by another program, or is damaged",
        )
    if '{"float":' in joined:  # rarely
        return [{key: _value(value) for key, value in attributes.items()} for attributes in found]
    return list(found)


def _plain(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist())
    return str(value)


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["float"])
    return [_value(item) for item in value] if isinstance(value, list) else value
