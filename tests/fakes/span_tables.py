"""Span tables of a known shape."""

from __future__ import annotations

import time
from typing import Any

import polars as pl

from mlms.tracing import attributes
from mlms.tracing.spans import SCHEMA, SpanTable

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
ODD_NAMES = ("bell\x07 and\nline", 'quote" back\\slash; <b>&', "слой 層 طبقة 🧠", "n" * 10_000)


def table(rows: list[dict[str, Any]], resource: dict[str, Any] | None = None) -> SpanTable:
    """Rows with the defaults filled in; attributes as a mapping."""
    blank = {"trace_id": TRACE_ID, "parent_id": None, "level": "model", "status": "unset", "status_message": None}
    whole = [{**blank, **row, "attributes": attributes.dumps(row.get("attributes", {}))} for row in rows]
    return SpanTable(pl.DataFrame(whole, schema=SCHEMA), resource or {"service.name": "mlms", "process.pid": 42})


def nested(predictions: int, layers: int) -> SpanTable:
    """An evaluation with predictions, each with layers in it; some names are odd ones; one prediction failed."""
    zero = time.time_ns()
    step, inside = 1_000 * (layers + 2), 1_000
    rows = [span(0, None, "evaluate", "application", zero, zero + predictions * step, {"mlms.run_id": "x"})]
    for query in range(predictions):
        begin, number = zero + query * step, len(rows)
        rows.append(span(number, 0, "predict", "model", begin, begin + step - 7, {"mlms.query": query}))
        if query == 1:
            rows[-1] |= {"status": "error", "status_message": "out of luck"}
        for layer in range(layers):
            name = ODD_NAMES[layer] if layer < len(ODD_NAMES) else f"layer{layer}.conv"
            start = begin + layer * inside
            shapes = {"mlms.layer.input_shapes": ["1x3x8x8"], "mlms.layer.flops": 3e9, "mlms.layer.call": 0}
            rows.append(span(len(rows), number, name, "layer", start, start + 123 + layer, shapes))
    return table(rows)


def span(
    number: int, parent: int | None, name: str, level: str, start: int, end: int, attributes: dict[str, Any]
) -> dict[str, Any]:
    """A row with numbers as identifiers."""
    return {
        "span_id": identifier(number),
        "parent_id": None if parent is None else identifier(parent),
        "name": name,
        "level": level,
        "start_ns": start,
        "end_ns": end,
        "attributes": attributes,
    }


def identifier(number: int) -> str:
    """With the highest bit set, which a signed integer of 64 bits can't hold."""
    return f"{(1 << 63) + number + 1:016x}"


def repeated(count: int) -> SpanTable:
    """``count`` spans, made by column: predictions of 50 spans each, the layers in the order of their times."""
    numbers = pl.select(pl.int_range(count, dtype=pl.Int64).alias("number"))
    position = pl.col("number") % 50
    first = pl.col("number") - position
    start = 1_795_469_700_000_000_000 + first * 20_000 + position * 15_000

    def digits(column: pl.Expr) -> pl.Expr:
        return pl.lit("f") + column.cast(pl.String).str.zfill(15)

    frame = numbers.select(
        trace_id=pl.lit(TRACE_ID),
        span_id=digits(pl.col("number")),
        parent_id=pl.when(position > 0).then(digits(first)),
        name=pl.when(position > 0).then(pl.format("layer{}.conv", position)).otherwise(pl.lit("predict")),
        level=pl.when(position > 0).then(pl.lit("layer")).otherwise(pl.lit("model")),
        start_ns=start,
        end_ns=start + pl.when(position > 0).then(14_000).otherwise(900_000),
        status=pl.lit("unset"),
        status_message=pl.lit(None, pl.String),
        attributes=pl.when(position > 0)
        .then(pl.format("{}{}{}", pl.lit('{"mlms.layer.type":"Conv2d","mlms.layer.flops":'), position, pl.lit("}")))
        .otherwise(pl.format("{}{}{}", pl.lit('{"mlms.query":'), first // 50, pl.lit("}"))),
    )
    return SpanTable(frame, {"service.name": "mlms", "process.pid": 42})
