"""What recording a span costs, and how fast spans reach a collector, beside OpenTelemetry's Python SDK.

The hot path: a function that does nothing is called plain, wrapped by mlms's recorder, and in spans of the SDK. The
recorder's spans nest and are kept, so its peer is the SDK's span that does the same: ``start_as_current_span`` with a
BatchSpanProcessor, whose exporter does nothing. The table also has the SDK at its least, ``start_span`` and ``end``
with a processor that forgets. The cost is that of the call less that of the plain call, medians of interleaved rounds.
End to end: the same number of spans, each with three attributes, is recorded and delivered to a gRPC collector in a
process of its own, which counts what it got, by mlms (recorder, span table, OTLP) and by the SDK (``start_span`` and
``end``, BatchSpanProcessor and exporter), whose queue is large enough to drop none. The time is from the first span to
the last answer.

Real models, ResNet-50 and MobileNet-V3-small with random weights, batch 1, on the CPU: at level "layer" beside the same
model untraced (and that beside itself, which is what this machine's noise makes of no difference); at level "operator"
beside ``torch.profiler`` alone, whose record it is made from, with a mark for each layer more. Two per cent is about
what the medians can tell.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from claims import Claim, conclude, options, table
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from traced_models import at_level_layer, at_level_operator

from mlms.tracing.clock import unix_ns
from mlms.tracing.otlp import send
from mlms.tracing.recorder import Recorder, match
from mlms.tracing.spans import SpanTable, predictions

CALLS = 20_000
ROUNDS = 15
SPANS, FEW_SPANS = 50_000, 5_000
MOST_SENDS = 5
PREDICTIONS = {"resnet50": 6, "mobilenet_v3_small": 30}
"""Of each model for each repeat."""
ATTRIBUTES: dict[str, Any] = {"mlms.layer.name": "conv1", "mlms.layer.type": "Conv2d", "mlms.layer.flops": 118_013_952}
RESOURCE = {"service.name": "benchmark"}
COLLECTOR = """
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

spans = 0

def export(request, context):
    global spans
    found = ExportTraceServiceRequest.FromString(request)
    spans += sum(len(scope.spans) for resource in found.resource_spans for scope in resource.scope_spans)
    return b""

class Handler(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_unary_rpc_method_handler(export)

server = grpc.server(ThreadPoolExecutor(2), handlers=[Handler()])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
for line in sys.stdin:
    print(spans, flush=True)
    spans = 0
"""


class Exporter(SpanExporter):
    """Sends nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """There is nothing to end."""


class Collector:
    """The collector's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.endpoint = f"http://127.0.0.1:{self._read()}"

    def count(self) -> int:
        """The spans it got since it was last asked."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._read())

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def nothing() -> None:
    """The work that is traced."""


def seconds(calls: int, call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - started) / calls


def hot_path(rounds: int) -> dict[str, float]:
    """Nanoseconds that a span adds to a call: medians over interleaved rounds."""
    recorder = Recorder()
    recorded = recorder.wrap(nothing, recorder.intern("nothing", "layer", ATTRIBUTES))
    keeping, forgetting = TracerProvider(shutdown_on_exit=False), TracerProvider(shutdown_on_exit=False)
    keeping.add_span_processor(BatchSpanProcessor(Exporter(), max_queue_size=1 << 20))
    forgetting.add_span_processor(SpanProcessor())
    nesting, bare = keeping.get_tracer("benchmark"), forgetting.get_tracer("benchmark")

    def sdk() -> None:
        with nesting.start_as_current_span("nothing", attributes=ATTRIBUTES):
            nothing()

    def least() -> None:
        span = bare.start_span("nothing", attributes=ATTRIBUTES)
        nothing()
        span.end()

    ways = {"plain": nothing, "mlms": recorded, "SDK": sdk, "SDK, start and end only": least}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, call in ways.items():
            found[way].append(seconds(CALLS // 10 if way.startswith("SDK") else CALLS, call))
        recorder.events.here().clear()
    keeping.shutdown()
    typical = {way: median(times) * 1e9 for way, times in found.items()}
    return {way: cost - typical["plain"] for way, cost in typical.items() if way != "plain"}


def through_mlms(endpoint: str, count: int) -> float:
    """Seconds to record ``count`` spans and deliver them."""
    recorder = Recorder()
    recorded = recorder.wrap(nothing, recorder.intern("nothing", "layer", ATTRIBUTES))
    started = time.perf_counter()
    for _ in range(count):
        recorded()
    spans = match(np.concatenate([part.events for part in recorder.parts()]))
    columns: dict[str, Any] = dict(ATTRIBUTES)
    made = predictions(
        "0af7651916cd43dd8448eb211c80319c", None, "nothing", unix_ns(spans.start), unix_ns(spans.end), columns
    )
    report = send(SpanTable(made.frame.with_columns(level=pl.lit("layer")), RESOURCE), endpoint, budget_seconds=60)
    if report.error:
        sys.exit(report.error)
    return time.perf_counter() - started


def through_sdk(endpoint: str, count: int) -> float:
    """The same with the SDK."""
    provider = TracerProvider(resource=Resource(RESOURCE), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint, insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=count + 1))
    tracer = provider.get_tracer("benchmark")
    started = time.perf_counter()
    for _ in range(count):
        span = tracer.start_span("nothing", attributes=ATTRIBUTES)
        nothing()
        span.end()
    provider.force_flush(600_000)
    taken = time.perf_counter() - started
    provider.shutdown()
    return taken


@contextmanager
def collector() -> Iterator[Collector]:
    command = [sys.executable, "-c", COLLECTOR]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Collector(process)
        finally:
            process.kill()


def main() -> int:
    given = options(__doc__, 50, quick=True)
    repeats, spans = given.repeats, FEW_SPANS if given.quick else SPANS
    sends = min(repeats, MOST_SENDS)
    costs = hot_path(min(ROUNDS, 3 * repeats))
    rates: dict[str, list[float]] = {"mlms": [], "SDK": []}
    ways = {"mlms": through_mlms, "SDK": through_sdk}
    lost = 0
    with collector() as receiver:
        for way in ways.values():  # warm up: imports, the connection
            way(receiver.endpoint, 1_000)
            receiver.count()
        for _ in range(sends):
            for name, way in ways.items():
                taken = way(receiver.endpoint, spans)
                got = receiver.count()
                rates[name].append(got / taken)
                lost += spans - got if name == "mlms" else 0
    counts = dict.fromkeys(PREDICTIONS, 1) if given.quick else PREDICTIONS
    layers = {name: at_level_layer(name, count * repeats) for name, count in counts.items()}
    operators, profiler = at_level_operator("resnet50", repeats)
    rate = {name: median(found) for name, found in rates.items()}
    table(
        ["", "cost of a span", "spans per second, end to end"],
        [[name, f"{cost:,.0f} ns", f"{rate[name]:,.0f}" if name in rate else ""] for name, cost in costs.items()],
    )
    print()
    table(
        ["", "level layer", "untraced", "untraced again"],
        [[name, *(f"{taken / 1e6:.3f} ms" for taken in found)] for name, found in layers.items()],
    )
    print()
    table(
        ["", "level operator", "torch.profiler"],
        [["resnet50", f"{operators / 1e6:.3f} ms", f"{profiler / 1e6:.3f} ms"]],
    )
    return conclude(
        [
            *(
                Claim(f"{name} at level layer, of untraced", traced / plain, 1.02, "×")
                for name, (traced, plain, _) in layers.items()
            ),
            Claim("resnet50 at level operator, of torch.profiler alone", operators / profiler, 1.02, "×"),
            Claim("cost of recording a span, of the SDK's", costs["mlms"] / costs["SDK"], 1 / 50, "×"),
            Claim("time a span end to end, of the SDK's", rate["SDK"] / rate["mlms"], 1 / 10, "×"),
            Claim("share of mlms's spans that did not arrive", lost / (sends * spans), 0, "×"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
