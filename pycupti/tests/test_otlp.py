"""OTLP bytes against the official protobuf."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

import pycupti
from pycupti import otlp

U64 = st.integers(0, 2**64 - 1)
texts = st.text(max_size=40)


@st.composite
def tables(draw):
    count = draw(st.integers(0, 12))
    names = draw(st.lists(texts, min_size=1, max_size=5))

    def column(kind, values):
        return np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=kind)

    return {
        "trace_id": draw(st.binary(min_size=16, max_size=16)),
        "span_ids": column(np.uint64, U64),
        "parent_ids": column(np.uint64, U64),
        "starts": column(np.uint64, U64),
        "ends": column(np.uint64, U64),
        "names": (column(np.uint32, st.integers(0, len(names) - 1)), names),
        "kind": draw(st.integers(0, 5)),
        "scope": draw(texts.filter(lambda t: "\x00" not in t)),
        "scope_version": draw(texts.filter(lambda t: "\x00" not in t)),
        "schema_url": draw(texts.filter(lambda t: "\x00" not in t)),
        "attributes": {
            "i8": column(np.int64, st.integers(-(2**63), 2**63 - 1)),
            "i4": column(np.int32, st.integers(-(2**31), 2**31 - 1)),
            "u4": column(np.uint32, st.integers(0, 2**32 - 1)),
            "u2": column(np.uint16, st.integers(0, 2**16 - 1)),
            "u1": column(np.uint8, st.integers(0, 2**8 - 1)),
            "f8": column(np.float64, st.floats(allow_nan=False)),
            "f4": column(np.float32, st.floats(width=32, allow_nan=False)),
            "text": (column(np.uint32, st.integers(0, len(names) - 1)), names),
        },
    }


def any_value(column, row):
    if isinstance(column, tuple):
        return AnyValue(string_value=column[1][column[0][row]])
    if column.dtype.kind == "f":
        return AnyValue(double_value=float(column[row]))
    return AnyValue(int_value=int(column[row]))


def by_protobuf(table):
    """The same message, filled the usual way."""

    def id_bytes(number):
        return int(number).to_bytes(8, "big")

    spans = [
        Span(
            trace_id=table["trace_id"],
            span_id=id_bytes(table["span_ids"][row]),
            parent_span_id=id_bytes(table["parent_ids"][row]) if table["parent_ids"][row] else b"",
            name=table["names"][1][table["names"][0][row]],
            kind=table["kind"],
            start_time_unix_nano=int(table["starts"][row]),
            end_time_unix_nano=int(table["ends"][row]),
            attributes=[KeyValue(key=k, value=any_value(v, row)) for k, v in table["attributes"].items()],
        )
        for row in range(len(table["span_ids"]))
    ]
    scope = InstrumentationScope(name=table["scope"], version=table["scope_version"])
    return ScopeSpans(scope=scope, spans=spans, schema_url=table["schema_url"])


@settings(deadline=None, max_examples=200)
@given(tables())
def test_the_bytes_are_those_of_the_official_protobuf(table):
    encoded = otlp.encode(**table)
    expected = by_protobuf(table)
    assert ScopeSpans.FromString(encoded) == expected
    assert encoded == expected.SerializeToString(deterministic=True)


def minimal(**changes):
    one = np.ones(1, np.uint64)
    given = {
        "trace_id": bytes(16),
        "span_ids": one,
        "parent_ids": one,
        "starts": one,
        "ends": one,
        "names": (np.zeros(1, np.uint32), ["a"]),
    }
    return {**given, **changes}


def test_columns_of_other_types_are_converted():
    attributes = {"half": np.array([1.5], np.float16), "flag": np.array([True]), "big": np.array([7], ">u4")}
    span = ScopeSpans.FromString(otlp.encode(**minimal(attributes=attributes))).spans[0]
    assert [a.value.double_value or a.value.int_value for a in span.attributes] == [1.5, 1, 7]


def test_bad_columns_are_refused():
    with pytest.raises(ValueError, match="16 bytes"):
        otlp.encode(**minimal(trace_id=b"short"))
    with pytest.raises(ValueError, match="2 values for 1 spans"):
        otlp.encode(**minimal(starts=np.ones(2, np.uint64)))
    with pytest.raises(ValueError, match="past the end"):
        otlp.encode(**minimal(names=(np.array([5], np.uint32), ["a"])))


def test_kernels_go_straight_from_their_rows(fake):
    with pycupti.Tracer() as tracer:
        with tracer.correlate(77):
            fake.launch("_Z4gemmi", stream=3)
        assert tracer.flush()
        records = tracer.drain()
    parents = pycupti.attribute(records).kernels
    encoded = otlp.encode_kernels(records, parents, trace_id=b"0123456789abcdef", first_span_id=1000)
    span = ScopeSpans.FromString(encoded).spans[0]
    assert span.name == "gemm(int)"
    assert int.from_bytes(span.parent_span_id, "big") == 77
    assert int.from_bytes(span.span_id, "big") == 1000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 100
    values = {a.key: a.value.int_value for a in span.attributes}
    assert values["cuda.grid.z"] == 3
    assert values["cuda.stream"] == 3
