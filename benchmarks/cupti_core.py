"""What pycupti's C core costs: decoding, correlation and OTLP encoding. Needs no GPU: CUPTI is a stand-in.

The stand-in is compiled from pycupti's tests; the OTLP peer is the official protobuf, filled in Python, in the same
process and on the same spans, turn by turn. All but decoding, which the core's own thread does, is processor time.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from claims import Claim, conclude

PYCUPTI_TESTS = Path(__file__).resolve().parent.parent / "pycupti" / "tests"
sys.path.insert(0, str(PYCUPTI_TESTS))


def measure_decode(pycupti: Any, fake: Any, launches: int) -> tuple[float, Any]:
    """Decode time in ns a record over kernels of 200 names, and the records, calls among them."""
    with pycupti.Tracer(max_buffers=256) as tracer:
        with tracer.correlate(7):
            for start in range(0, launches, 1000):
                name = f"void kernel_of_a_template<float, {start % 200}, layout::nhwc>(tensor<float>, tensor<float>)"
                fake.launch(name, count=1000)
        if not tracer.flush():
            raise RuntimeError("the stand-in did not give its buffers back")
        stats, records = tracer.stats, tracer.drain()
    if len(records.kernels) != launches or len(records.calls) != launches:
        raise RuntimeError(f"{len(records.kernels)} kernels and {len(records.calls)} calls of {launches}")
    return stats.decode_ns / stats.records, records


def measure_call(pycupti: Any, fake: Any, launches: int, turns: int) -> float:
    """Nanoseconds that the callbacks at a call's enter and exit take, over the same call without."""
    differences = []
    for _ in range(turns):
        took = []
        for kinds in ([pycupti.Kind.MEMSET], [pycupti.Kind.MEMSET, pycupti.Kind.DRIVER]):
            with pycupti.Tracer(kinds) as tracer:
                fake.launch(count=1000)
                began = time.thread_time_ns()
                fake.launch(count=launches)
                took.append((time.thread_time_ns() - began) / launches)
                tracer.drain()
        differences.append(took[1] - took[0])
    return median(differences)


def measure_push_pop(pycupti: Any, rounds: int) -> tuple[float, float]:
    """Nanoseconds of push and pop, by method calls and by `with`."""
    with pycupti.Tracer() as tracer:
        began = time.thread_time_ns()
        for span in range(1, rounds):
            tracer.push(span)
            tracer.pop()
        called = time.thread_time_ns() - began
        began = time.thread_time_ns()
        for span in range(1, rounds):
            with tracer.correlate(span):
                pass
        managed = time.thread_time_ns() - began
    return called / rounds, managed / rounds


def by_protobuf(records: Any, parents: Any, trace_id: bytes, attributes: dict[str, Any]) -> Any:
    """The same ScopeSpans, one Python object a span and an attribute."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

    spans = []
    for row, kernel in enumerate(records.kernels):
        spans.append(
            Span(
                trace_id=trace_id,
                span_id=(row + 1).to_bytes(8, "big"),
                parent_span_id=int(parents[row]).to_bytes(8, "big"),
                name=records.names[kernel["name"]],
                kind=Span.SPAN_KIND_INTERNAL,
                start_time_unix_nano=int(kernel["start"]),
                end_time_unix_nano=int(kernel["end"]),
                attributes=[
                    KeyValue(key=key, value=AnyValue(int_value=int(column[row]))) for key, column in attributes.items()
                ],
            )
        )
    return ScopeSpans(scope=InstrumentationScope(name="pycupti"), spans=spans)


def measure_otlp(pycupti: Any, records: Any, spans: int, turns: int) -> tuple[float, float, bool]:
    """Nanoseconds a span in C and by protobuf (median of the turns), and whether the messages are the same."""
    from dataclasses import replace

    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

    from pycupti import otlp

    records = replace(records, kernels=records.kernels[:spans])
    parents = pycupti.attribute(records).kernels
    trace_id = bytes(range(16))
    names = ("correlation", "device", "stream", "registers", "static_shared", "dynamic_shared", "graph_node")
    attributes = {f"cuda.{name}": records.kernels[name] for name in names}
    for field in ("grid", "block"):
        attributes |= {f"cuda.{field}.{letter}": records.kernels[field][:, axis] for axis, letter in enumerate("xyz")}
    ours, theirs = [], []
    for _ in range(turns):
        began = time.thread_time_ns()
        encoded = otlp.encode_kernels(records, parents, trace_id=trace_id, first_span_id=1)
        ours.append((time.thread_time_ns() - began) / spans)
        began = time.thread_time_ns()
        filled = by_protobuf(records, parents, trace_id, attributes)
        serialised = filled.SerializeToString()
        theirs.append((time.thread_time_ns() - began) / spans)
    same = ScopeSpans.FromString(encoded) == filled and len(encoded) == len(serialised)
    return median(ours), median(theirs), same


def main() -> int:
    """Print the measurements and the claims; 1 when one doesn't hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=300_000)
    parser.add_argument("--spans", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    from fake import build
    from fake.driver import Fake

    with tempfile.TemporaryDirectory() as folder:
        cupti, cuda = build.libcupti(Path(folder)), build.libcuda(Path(folder))
        os.environ |= {"PYCUPTI_LIBCUPTI": str(cupti), "PYCUPTI_LIBCUDA": str(cuda)}
        import pycupti

        fake = Fake(cupti)
        decode, records = measure_decode(pycupti, fake, options.launches)
        call = measure_call(pycupti, fake, options.launches, options.turns)
        called, managed = measure_push_pop(pycupti, 300_000)
        ours, theirs, same = measure_otlp(pycupti, records, options.spans, options.turns)
    print(f"decoding a record                  {decode:10.0f} ns")
    print(f"recording a call                   {call:10.0f} ns")
    print(f"push and pop, called               {called:10.0f} ns")
    print(f"push and pop, `with correlate`     {managed:10.0f} ns")
    print(f"OTLP span of 13 attributes, in C   {ours:10.0f} ns")
    print(f"OTLP span by protobuf in Python    {theirs:10.0f} ns")
    return conclude(
        [
            Claim("decoding a record", decode, 250, "ns"),
            Claim("push and pop", managed, 1500, "ns"),
            Claim("OTLP encoding of a span", ours, 1500, "ns"),
            Claim("OTLP encoding over filling protobuf in Python", ours / theirs, 1 / 20, "×"),
            Claim("messages that the official protobuf reads otherwise", float(not same), 0, ""),
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
