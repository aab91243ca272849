"""The span table: one row a span, columns as in ``SCHEMA``. Imports polars; import this module where spans are used.

=============== ======= ==============================================================================================
column          type    meaning
=============== ======= ==============================================================================================
trace_id        String  32 hex digits
span_id         String  16 hex digits
parent_id       String  16 hex digits; null for a root. May name a span outside of the table (the caller's own).
name            String
level           String  one of ``mlms.tracing.levels.LEVELS`` but "none"
start_ns        Int64   Unix time, ns
end_ns          Int64   Unix time, ns
status          String  "unset", "ok" or "error"
status_message  String  null unless the status is "error"
attributes      String  a JSON object, see ``mlms.tracing.attributes``
=============== ======= ==============================================================================================

In a file the resource (what made the spans: service, host, process) is key-value metadata, as JSON.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from mlms.tracing import attributes as attribute_text
from mlms.tracing import parquet
from mlms.tracing.levels import LEVEL_ATTRIBUTE
from mlms.utf8 import escaped

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

SCHEMA: dict[str, type[pl.DataType]] = {
    "trace_id": pl.String,
    "span_id": pl.String,
    "parent_id": pl.String,
    "name": pl.String,
    "level": pl.String,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "status": pl.String,
    "status_message": pl.String,
    "attributes": pl.String,
}

_RESOURCE_KEY = "mlms.resource"


class Spans(Protocol):
    """Spans in memory or in a file, and the OpenTelemetry resource that made them."""

    @property
    def resource(self) -> Mapping[str, Any]: ...

    def parts(self, *columns: str) -> Iterator[pl.DataFrame]: ...


@dataclass(frozen=True)
class SpanTable:
    """Spans as a polars frame (columns ``SCHEMA``), and the OpenTelemetry resource that made them."""

    frame: pl.DataFrame
    resource: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.frame.height

    def parts(self, *columns: str) -> Iterator[pl.DataFrame]:
        """The rows, a part at a time, as ``StoredSpans.parts`` gives them."""
        frame = self.frame.select(columns) if columns else self.frame
        return frame.iter_slices(parquet.ROW_GROUP)

    def write(self, path: Path) -> None:
        """Write as Parquet.

        Raises:
            StorageError: the place can't be written.
        """
        parquet.write(self.frame, path, resource_metadata(self.resource))

    @classmethod
    def read(cls, path: Path) -> SpanTable:
        """Read what ``write`` wrote.

        Raises:
            StorageError: the file is missing, cut off, or no span table.
        """
        frame = parquet.read(path, SCHEMA)
        return cls(frame, attribute_text.loads(parquet.metadata(path).get(_RESOURCE_KEY, "{}")))


@dataclass(frozen=True)
class StoredSpans:
    """A span table that stays in its file and is read in parts, so that a trace of any size fits in memory.

    Raises:
        StorageError: as ``SpanTable.read``; so for ``parts``.
    """

    path: Path
    resource: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        found = parquet.metadata(self.path).get(_RESOURCE_KEY, "{}")
        object.__setattr__(self, "resource", attribute_text.loads(found))

    def __len__(self) -> int:
        return parquet.height(self.path)

    def parts(self, *columns: str) -> Iterator[pl.DataFrame]:
        """Some tens of thousands of rows at a time, in order; all columns if none are named."""
        return parquet.read_parts(self.path, SCHEMA, columns or None)


def resource_metadata(resource: Mapping[str, Any]) -> dict[str, str]:
    """A file's key-value metadata, which says what made its spans."""
    return {_RESOURCE_KEY: attribute_text.dumps(resource)}


def concat(tables: Iterable[SpanTable], resource: Mapping[str, Any] | None = None) -> SpanTable:
    """All spans in one table, by start time (a parent before the children that start with it).

    The resource is ``resource``, or else the first table's.
    """
    kept = list(tables)
    if resource is None:
        resource = kept[0].resource if kept else {}
    frame = pl.concat([pl.DataFrame(schema=SCHEMA), *(table.frame for table in kept)])
    return SpanTable(frame.sort("start_ns", -pl.col("end_ns"), maintain_order=True), resource)


def from_sdk(spans: Sequence[ReadableSpan]) -> SpanTable:
    """Finished spans of the OpenTelemetry SDK; their level is the attribute ``mlms.level``, else "application"."""
    rows = []
    for span in spans:
        attributes = dict(span.attributes or {})
        level = attributes.pop(LEVEL_ATTRIBUTE, "application")
        rows.append(
            (
                f"{span.context.trace_id:032x}",
                f"{span.context.span_id:016x}",
                f"{span.parent.span_id:016x}" if span.parent else None,
                escaped(span.name),
                level,
                span.start_time,
                span.end_time,
                span.status.status_code.name.lower(),
                None if span.status.description is None else escaped(span.status.description),
                attribute_text.dumps(attributes),
            )
        )
    return SpanTable(pl.DataFrame(rows, schema=SCHEMA, orient="row"), span.resource.attributes if spans else {})


def predictions(
    trace_id: str,
    parent_id: str | None,
    name: str,
    start_ns: npt.NDArray[np.int64],
    end_ns: npt.NDArray[np.int64],
    attributes: Mapping[str, npt.NDArray[Any] | bool | int | float | str],
) -> SpanTable:
    """Model-level spans of many predictions at once, from arrays of shape (predictions,), Unix time in ns.

    An attribute is one value for all spans, or an array of shape (predictions,) of bool, integers, floats or str.
    """
    count = len(start_ns)
    columns = {"start_ns": start_ns, "end_ns": end_ns}
    columns |= {key: value for key, value in attributes.items() if isinstance(value, np.ndarray)}
    for key, column in columns.items():
        if column.shape != (count,):
            raise ValueError(f"'{key}' has shape {column.shape}; expected ({count},)")
    frame = pl.DataFrame(
        {
            "span_id": span_ids(count),
            "start_ns": pl.Series(start_ns, dtype=pl.Int64),
            "end_ns": pl.Series(end_ns, dtype=pl.Int64),
            "attributes": _attribute_column(attributes, count),
        }
    ).with_columns(
        trace_id=pl.lit(trace_id),
        parent_id=pl.lit(parent_id, dtype=pl.String),
        name=pl.lit(escaped(name)),
        level=pl.lit("model"),
        status=pl.lit("unset"),
        status_message=pl.lit(None, dtype=pl.String),
    )
    return SpanTable(frame.select(list(SCHEMA)))


def span_ids(count: int) -> pl.Series:
    """As many random span identifiers, 16 hex digits each."""
    # From the system's randomness: seeding Python's or numpy's generators must not repeat identifiers.
    digits = np.frombuffer(secrets.token_hex(8 * count).encode(), dtype="S16")
    identifiers: pl.Series = pl.Series("span_id", digits, dtype=pl.Binary).cast(pl.String)
    return identifiers


def _attribute_column(attributes: Mapping[str, Any], count: int) -> pl.Series:
    """``attributes`` as JSON text a row, put together column by column."""
    fixed = attribute_text.dumps({key: value for key, value in attributes.items() if not isinstance(value, np.ndarray)})
    parts: list[pl.Series | pl.Expr] = [pl.repeat(fixed[:-1], count, dtype=pl.String, eager=True)]
    separator = "" if fixed == "{}" else ","
    for key, value in attributes.items():
        if isinstance(value, np.ndarray):
            parts += [pl.lit(f"{separator}{json.dumps(key)}:"), _json_values(value)]
            separator = ","
    return pl.select(pl.concat_str([*parts, pl.lit("}")])).to_series()


def _json_values(values: npt.NDArray[Any]) -> pl.Series:
    """Each value as JSON text."""
    if values.dtype.kind == "f":
        numbers = pl.Series(values.astype(np.float64))
        digits: pl.Series = numbers.cast(pl.String)
        odd: pl.Series = '{"float":"' + digits.str.to_lowercase() + '"}'
        either: pl.Series = digits.zip_with(numbers.is_finite(), odd)
        return either
    if values.dtype.kind in "biu":
        plain: pl.Series = pl.Series(values).cast(pl.String)
        return plain
    distinct, index = np.unique(values.astype(str), return_inverse=True)
    texts = pl.Series([json.dumps(str(value)) for value in distinct], dtype=pl.String)
    gathered: pl.Series = texts.gather(index)
    return gathered
