"""Samples the meters in a process of its own, so that the one that measures does nothing for it.

The samples are lines of JSON: first what the columns are, then ``[time in ns, joules..., bytes used...]``, the time as
of ``time.monotonic_ns``, which all processes of a machine share.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from pathlib import Path

from mlms.profilers.meters import POWERCAP, meters

INTERVAL_S = 0.05


class Sampler:
    """A running sampler, which writes ``file``."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process = process
        self.file = file

    @classmethod
    def start(cls, file: Path, powercap: Path = POWERCAP) -> Sampler | None:
        """Sample into ``file`` until ``stop``, or until this process ends; None where there is nothing to sample."""
        if not meters(powercap):
            return None
        path = [str(entry) for entry in sys.path]
        program = f"import sys; sys.path[:] = {path!r}; from mlms.profilers.sampler import main; main(*sys.argv[1:])"
        command = [sys.executable, "-c", program, str(file), str(powercap)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        return cls(process, file)

    def stop(self) -> None:
        """End it; all samples are in the file then. May be called twice."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main(path: str, powercap: str) -> None:
    """Write a sample every ``INTERVAL_S`` until standard input closes."""
    sampled = meters(Path(powercap))
    with_memory = [meter for meter in sampled if meter.used_bytes is not None]
    with Path(path).open("w", encoding="ascii") as file:
        names, wraps = [meter.name for meter in sampled], [meter.wraps_at for meter in sampled]
        print(json.dumps({"meters": names, "wraps_at": wraps, "memory": [m.name for m in with_memory]}), file=file)
        while True:
            row = [time.monotonic_ns(), *(meter.joules() for meter in sampled)]
            row += [meter.used_bytes() for meter in with_memory if meter.used_bytes is not None]
            print(json.dumps(row), file=file)
            if select.select([sys.stdin], [], [], INTERVAL_S)[0]:
                return
