import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from fakes.counters import START_NS, counter
from fakes.otlp_receiver import Receiver
from fakes.span_tables import ODD_NAMES, identifier, nested, span, table
from mlms.errors import StorageError
from mlms.tracing import attributes as attribute_text
from mlms.tracing import formats
from mlms.tracing.observations import Counter as Observed
from mlms.tracing.spans import SCHEMA, SpanTable, StoredSpans


def written(spans: SpanTable | StoredSpans, name: str, counters: Sequence[Observed] = ()) -> bytes:
    file = io.BytesIO()
    formats.write(spans, name, file, counters)
    return file.getvalue()


@pytest.fixture(scope="module")
def spans() -> SpanTable:
    return nested(predictions=300, layers=25)


def as_sent(spans: SpanTable) -> list[dict[str, Any]]:
    return [
        row | {"attributes": {"mlms.level": row.pop("level"), **attribute_text.loads(row["attributes"])}}
        for row in spans.frame.rows(named=True)
    ]


def test_otlp_protobuf_is_one_message(spans: SpanTable) -> None:
    data = TracesData.FromString(written(spans, "otlp-proto"))
    assert Receiver(requests=[data]).spans() == as_sent(spans)  # type: ignore[list-item]


def test_otlp_json_is_the_same(spans: SpanTable) -> None:
    found = []
    for line in written(spans, "otlp-json").splitlines():
        document = json.loads(line)
        for made in document["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            for key in ("traceId", "spanId", "parentSpanId"):  # OTLP has hexadecimal where protobuf's JSON has base64
                if key in made:
                    made[key] = base64_of(made[key])
        found.append(ParseDict(document, TracesData()))
    assert len(found) > 1
    assert Receiver(requests=found).spans() == as_sent(spans)  # type: ignore[arg-type]
    resource = {pair.key: pair.value for pair in found[0].resource_spans[0].resource.attributes}
    assert resource["process.pid"].int_value == 42


def base64_of(digits: str) -> str:
    import base64

    return base64.b64encode(bytes.fromhex(digits)).decode()


def test_chrome_events_nest_on_their_lanes(spans: SpanTable) -> None:
    document = json.loads(written(spans, "chrome"))
    events = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in events] == spans.frame["name"].to_list()
    assert [event["args"]["span_id"] for event in events] == spans.frame["span_id"].to_list()
    zero = int(document["otherData"]["start_unix_ns"])
    assert [zero + round(event["ts"] * 1000) for event in events] == spans.frame["start_ns"].to_list()
    assert events[2]["args"]["mlms.layer.input_shapes"] == ["1x3x8x8"]
    assert {event["tid"] for event in events} == {1}
    failed = [event for event in events if event["args"].get("status") == "error"]
    assert [event["name"] for event in failed] == ["predict"]


COUNTERS = [
    counter("process.memory.usage", [5.0, float("nan"), 4.0], unit="By"),
    counter("faults", [0.0, 1.0], kind="sum", unit="{fault}", type='minor "one"'),
    counter("faults", [0.0, 9.5], kind="sum", unit="{fault}", type="major"),
]


def test_chrome_has_a_track_for_each_counter(spans: SpanTable) -> None:
    document = json.loads(written(spans, "chrome", COUNTERS))
    zero = int(document["otherData"]["start_unix_ns"])
    assert zero == min(spans.frame["start_ns"].min(), START_NS)  # type: ignore[type-var]
    events = [event for event in document["traceEvents"] if event["ph"] == "C"]
    found = [(e["name"], zero + round(e["ts"] * 1000) - START_NS, e["args"]["value"]) for e in events]
    assert found == [
        ("process.memory.usage [By]", 0, 5.0),
        ("process.memory.usage [By]", 200_000_000, 4.0),
        ('faults (type=minor "one") [{fault}]', 0, 0.0),
        ('faults (type=minor "one") [{fault}]', 100_000_000, 1.0),
        ("faults (type=major) [{fault}]", 0, 0.0),
        ("faults (type=major) [{fault}]", 100_000_000, 9.5),
    ]
    alone = json.loads(written(SpanTable(pl.DataFrame(schema=SCHEMA)), "chrome", COUNTERS))
    assert alone["otherData"]["start_unix_ns"] == str(START_NS)


@pytest.mark.parametrize("name", [name for name, found in formats.FORMATS.items() if not found.counters])
def test_formats_without_a_place_for_counters_have_the_spans_alone(name: str, spans: SpanTable) -> None:
    assert written(spans, name, COUNTERS) == written(spans, name)


def test_csv_is_the_table(spans: SpanTable, tmp_path: Path) -> None:
    path = tmp_path / "spans.csv"
    path.write_bytes(written(spans, "csv"))
    assert pl.read_csv(path, schema=SCHEMA).equals(spans.frame)
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))
    assert rows[0] == list(SCHEMA)
    assert len(rows) == len(spans) + 1
    assert {row[3] for row in rows} >= set(ODD_NAMES)


def test_folded_stacks_hold_each_span_s_own_time(spans: SpanTable) -> None:
    found: Counter[str] = Counter()
    for line in written(spans, "folded").decode().split("\n")[:-1]:
        stack, _, own = line.rpartition(" ")
        assert " " not in stack
        found[stack] += int(own)
    frame = spans.frame
    root = frame.row(0, named=True)
    assert sum(found.values()) == root["end_ns"] - root["start_ns"]
    conv = frame.filter(pl.col("name") == "layer24.conv")
    assert found["evaluate;predict;layer24.conv"] == (conv["end_ns"] - conv["start_ns"]).sum()
    assert "evaluate;predict;bell_and_line" in found


@pytest.mark.parametrize("name", list(formats.FORMATS))
def test_a_file_gives_what_memory_gives_and_nothing_is_still_a_trace(
    name: str, spans: SpanTable, tmp_path: Path
) -> None:
    spans.write(tmp_path / "spans.parquet")
    assert written(StoredSpans(tmp_path / "spans.parquet"), name) == written(spans, name)
    empty = SpanTable(pl.DataFrame(schema=SCHEMA))
    made = written(empty, name)
    if name == "chrome":
        assert [event["ph"] for event in json.loads(made)["traceEvents"]] == ["M"]
    elif name != "perfetto":
        assert made.count(b"\n") == (1 if name == "csv" else 0)


@pytest.mark.parametrize("name", list(formats.FORMATS))
def test_a_file_that_is_cut_off(name: str, spans: SpanTable, tmp_path: Path) -> None:
    path = tmp_path / "spans.parquet"
    spans.write(path)
    whole = path.read_bytes()
    for kept in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(StorageError, match="cut off or damaged"):
            written(StoredSpans(path), name)
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 1100) + whole[-1000:])
    with pytest.raises(StorageError):
        written(StoredSpans(path), name)
    path.unlink()
    with pytest.raises(StorageError, match="missing"):
        StoredSpans(path)


@pytest.mark.parametrize("name", ["otlp-proto", "chrome", "perfetto", "folded"])
def test_identifiers_that_are_none(name: str) -> None:
    row = span(1, None, "a", "model", 1, 2, {})
    for bad in ("", "0123", "x" * 16):
        with pytest.raises(StorageError, match="hexadecimal"):
            written(table([row | {"span_id": bad}]), name)


@pytest.mark.parametrize("name", ["otlp-proto", "otlp-json", "chrome", "perfetto"])
def test_attributes_that_are_none(name: str) -> None:
    good = table([span(1, None, "a", "model", 1, 2, {})])
    for bad in ("[1]", "{", "{},{}"):
        with pytest.raises(StorageError, match="no JSON objects"):
            written(SpanTable(good.frame.with_columns(attributes=pl.lit(bad))), name)


def test_spans_that_overlap_have_lanes_of_their_own() -> None:
    rows = [span(0, None, "measure", "application", 0, 100, {})]
    rows += [span(1 + at, 0, f"query{at}", "model", 10 * at, 10 * at + 25, {}) for at in range(5)]
    rows += [span(10, 1, "kernel", "library", 20, 40, {})]  # outlives what launched it
    events = [e for e in json.loads(written(table(rows), "chrome"))["traceEvents"] if e["ph"] == "X"]
    lane = {event["name"]: event["tid"] for event in events}
    assert lane["measure"] == lane["query0"] == lane["query3"]
    assert len({lane["query0"], lane["query1"], lane["query2"]}) == 3
    assert lane["kernel"] not in {lane["query0"], lane["query1"], lane["query2"]}
    assert identifier(10) in {event["args"]["span_id"] for event in events}
