"""A collector that is a process of its own: ``PORT FILE [DIE_AFTER]``.

It appends each request to FILE (a length of 8 bytes, then the message) before it answers, and prints its port once it
listens. After DIE_AFTER requests the next one kills it, unanswered, as a crash would.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@contextmanager
def collector_process(file: Path, port: int = 0, die_after: int | None = None) -> Iterator[int]:
    """Run the program; gives its port."""
    arguments = [sys.executable, __file__, str(port), str(file), *([str(die_after)] if die_after is not None else [])]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())  # type: ignore[union-attr]
        finally:
            process.kill()


def received(file: Path) -> list[ExportTraceServiceRequest]:
    """All requests in a file."""
    data, at, found = file.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(ExportTraceServiceRequest.FromString(data[at + 8 : at + 8 + length]))
        at += 8 + length
    return found


def main(port: int, file: Path, die_after: int | None) -> None:
    served = 0

    def export(request: bytes, context: grpc.ServicerContext) -> bytes:
        nonlocal served
        if served == die_after:
            os._exit(1)
        served += 1
        with file.open("ab") as out:
            out.write(struct.pack("<Q", len(request)) + request)
        return ExportTraceServiceResponse().SerializeToString()

    class Handler(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            return grpc.unary_unary_rpc_method_handler(export) if call.method == METHOD else None

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Handler()], options=[("grpc.so_reuseport", 0)])
    print(server.add_insecure_port(f"127.0.0.1:{port}"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
