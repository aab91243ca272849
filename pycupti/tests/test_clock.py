"""The clock of calls, built by itself against a wall clock that can be set."""

import ctypes
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import pycupti
from fake import build

HARNESS = """
#include <time.h>
#include "clock.h"

uint64_t offset_ns;

int told_time(clockid_t id, struct timespec *time)
{
    int result = clock_gettime(id, time);
    uint64_t ns = (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec + offset_ns;
    *time = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return result;
}

static uint64_t running_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000u + (uint64_t)time.tv_nsec / 1000000u;
}

/* How far clock_read is off, at the worst, over so many milliseconds; and whether it came to use the counter. */
int64_t worst(wall_clock *clock, int ms, int *counted)
{
    struct timespec before, after;
    int64_t most = 0;
    for (uint64_t until = running_ms() + (uint64_t)ms; running_ms() < until;) {
        told_time(CLOCK_REALTIME, &before);
        uint64_t now = clock_read(clock);
        told_time(CLOCK_REALTIME, &after);
        int64_t early = (int64_t)before.tv_sec * 1000000000 + before.tv_nsec - (int64_t)now;
        int64_t late = (int64_t)now - (int64_t)after.tv_sec * 1000000000 - after.tv_nsec;
        most = early > most ? early : late > most ? late : most;
    }
    *counted = clock->good_for > 0;
    return most;
}
"""


class Clock:
    """`clock.c` with what names the clock's source in a file of the test's."""

    def __init__(self, folder: Path, source: str) -> None:
        (folder / "source").write_text(f"{source}\n")
        (folder / "harness.c").write_text(HARNESS)
        (folder / "told.h").write_text("#include <time.h>\nint told_time(clockid_t, struct timespec *);\n")
        told = ["-include", str(folder / "told.h"), "-Dclock_gettime=told_time"]
        named = f'-DCLOCK_SOURCE="{folder / "source"}"'
        flags = [*build.FLAGS, "-O2", f"-I{build.CSRC}"]
        clock, harness, library = (str(folder / name) for name in ("clock.o", "harness.o", "clock.so"))
        subprocess.run(["gcc", *flags, *told, named, "-c", str(build.CSRC / "clock.c"), "-o", clock], check=True)
        subprocess.run(["gcc", *flags, "-c", str(folder / "harness.c"), "-o", harness], check=True)
        subprocess.run(["gcc", "-shared", clock, harness, "-o", library], check=True)
        self.library = ctypes.CDLL(library)
        self.library.worst.restype = ctypes.c_int64
        self.library.clock_trust()
        self.state = (ctypes.c_uint64 * 4)()

    def worst_ns(self, ms: int) -> tuple[int, bool]:
        counted = ctypes.c_int()
        return self.library.worst(self.state, ms, ctypes.byref(counted)), bool(counted.value)

    def set(self, offset_ns: int) -> None:
        ctypes.c_uint64.in_dll(self.library, "offset_ns").value = offset_ns


def kernel_uses_tsc() -> bool:
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    return source.is_file() and source.read_text() == "tsc\n"


@pytest.mark.skipif(not kernel_uses_tsc(), reason="the kernel keeps time by another clock than the counter")
def test_the_counter_tells_the_time(tmp_path):
    worst, counted = Clock(tmp_path, "tsc").worst_ns(200)
    assert counted
    assert worst < 5_000


@pytest.mark.parametrize("source", ["kvm-clock", "hpet", "tsc-early", ""])
def test_no_counter_that_the_kernel_does_not_trust(tmp_path, source):
    assert Clock(tmp_path, source).worst_ns(50) == (0, False)


@pytest.mark.parametrize("seconds", [-3600, -0.005, 0.5, 3600])
def test_a_clock_that_is_set_is_followed(tmp_path, seconds):
    clock = Clock(tmp_path, "tsc")
    clock.worst_ns(30)
    clock.set(int(seconds * 1e9) % 2**64)
    clock.worst_ns(60)  # a rate that was taken across the change is used once
    assert clock.worst_ns(100)[0] < 5_000


def test_calls_stay_on_the_wall_clock(fake):
    edges = []
    with pycupti.Tracer([pycupti.Kind.RUNTIME]) as tracer:
        for _ in range(200):
            before = time.time_ns()
            fake.launch()
            edges.append((before, time.time_ns()))
            time.sleep(0.0005)
        tracer.flush()
        calls = tracer.drain().calls
    began, ended = np.array(edges).T
    assert (began - calls["start"].astype(np.int64)).max() < 5_000
    assert (calls["end"].astype(np.int64) - ended).max() < 5_000
