from __future__ import annotations

import ctypes
import errno
import itertools
import json
import mmap
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlms.builtins.profilers import perf, perf_events
from mlms.builtins.profilers.perf import KINDS, Count, Perf
from mlms.builtins.profilers.perf_events import HARDWARE, SOFTWARE, Attributes, Event, Reading

HEADER = Path("/usr/include/linux/perf_event.h")

LAYOUT = """
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define FIELD(name) printf("\\"%s\\": [%zu, %zu], ", #name, offsetof(struct perf_event_attr, name), \\
                           sizeof(((struct perf_event_attr *)0)->name))
#define BIT(name) { struct perf_event_attr a; unsigned long long flags; memset(&a, 0, sizeof a); a.name = 1; \\
                    memcpy(&flags, (char *)&a + 40, 8); printf("\\"%s\\": %llu, ", #name, flags); }

int main(void) {
  printf("{");
  FIELD(type); FIELD(size); FIELD(config); FIELD(sample_period); FIELD(sample_type); FIELD(read_format);
  FIELD(wakeup_events); FIELD(bp_type); FIELD(bp_addr);
  BIT(inherit); BIT(exclude_kernel); BIT(exclude_hv); BIT(inherit_thread);
  printf("\\"version0\\": %d, \\"hardware\\": %d, \\"software\\": %d, ", PERF_ATTR_SIZE_VER0, PERF_TYPE_HARDWARE,
         PERF_TYPE_SOFTWARE);
  printf("\\"times\\": %d, \\"cloexec\\": %d, \\"call\\": %d, ",
         PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING, (int)PERF_FLAG_FD_CLOEXEC,
         SYS_perf_event_open);
  printf("\\"configs\\": [%d, %d, %d, %d, %d, %d, %d, %d, %d]}", PERF_COUNT_HW_CPU_CYCLES, PERF_COUNT_HW_INSTRUCTIONS,
         PERF_COUNT_HW_CACHE_REFERENCES, PERF_COUNT_HW_CACHE_MISSES, PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
         PERF_COUNT_HW_BRANCH_MISSES, PERF_COUNT_SW_TASK_CLOCK, PERF_COUNT_SW_PAGE_FAULTS,
         PERF_COUNT_SW_CPU_MIGRATIONS);
  return 0;
}
"""


@pytest.mark.skipif(not HEADER.is_file() or shutil.which("cc") is None, reason="no C compiler or no Linux headers")
def test_the_kernel_s_header_has_the_same_layout_and_numbers(tmp_path: Path) -> None:
    source, program = tmp_path / "layout.c", tmp_path / "layout"
    source.write_text(LAYOUT)
    subprocess.run(["cc", "-o", str(program), str(source)], check=True)
    found = json.loads(subprocess.run([str(program)], capture_output=True, check=True).stdout)
    for name, *_ in Attributes._fields_:
        if name != "flags":
            field = getattr(Attributes, name)
            assert [field.offset, field.size] == found[name], name
    assert Attributes.flags.offset == 40
    assert ctypes.sizeof(Attributes) == found["version0"]
    assert found["inherit"] == perf_events.INHERIT
    assert found["exclude_kernel"] == perf_events.EXCLUDE_KERNEL
    assert found["exclude_hv"] == perf_events.EXCLUDE_HYPERVISOR
    assert found["inherit_thread"] == perf_events.INHERIT_THREAD
    assert (found["hardware"], found["software"]) == (HARDWARE, SOFTWARE)
    assert found["times"] == perf_events._TIMES
    assert found["cloexec"] == perf_events._CLOSE_ON_EXEC
    assert perf_events._SYSTEM_CALLS[os.uname().machine] == found["call"]
    assert [kind.config for kind in KINDS] == found["configs"]


def permitted() -> bool:
    try:
        Event(SOFTWARE, 1, os.getpid(), user_only=False).close()
    except OSError:
        return False
    return True


counting = pytest.mark.skipif(
    not perf_events.supported() or not permitted(), reason="the kernel doesn't count perf events for this user"
)


@counting
def test_software_events_of_all_threads_are_counted() -> None:
    """Pages touched and time spent by this thread, by one that was there before, and by one that is started later."""
    pages_touched = 200
    go, done = threading.Event(), threading.Event()

    def touch() -> None:
        with mmap.mmap(-1, pages_touched * mmap.PAGESIZE) as memory:
            for page in range(pages_touched):
                memory[page * mmap.PAGESIZE] = 1

    def wait() -> None:
        go.wait()
        touch()
        done.set()

    earlier = threading.Thread(target=wait)
    earlier.start()
    source = Perf(os.getpid())
    names = [series.name for series in source.series]
    assert {"mlms.perf.task_clock", "mlms.perf.page_faults"} <= set(names)

    def counts() -> dict[str, float]:
        return dict(zip(names, source.read(), strict=True))

    before = counts()
    touch()
    own = counts()
    go.set()
    done.wait()
    earlier.join()
    both = counts()
    later = threading.Thread(target=touch)
    later.start()
    later.join()
    three = counts()
    pages = [now["mlms.perf.page_faults"] for now in (before, own, both, three)]
    clock = [now["mlms.perf.task_clock"] for now in (before, own, both, three)]
    assert all(one < other for one, other in itertools.pairwise(clock))
    assert all(one + 100 < other for one, other in itertools.pairwise(pages))


@counting
def test_processes_that_are_started_are_not_counted() -> None:
    source = Perf(os.getpid())
    at = [series.name for series in source.series].index("mlms.perf.task_clock")
    before = source.read()[at]
    subprocess.run(["python3", "-c", "sum(i * i for i in range(3_000_000))"], check=True)
    assert source.read()[at] - before < 0.1


def test_hardware_events_are_counted_or_their_absence_is_told() -> None:
    source = Perf(os.getpid())
    names = {series.name for series in source.series}
    if "mlms.perf.cycles" in names:
        assert not [note for note in source.notes if "cycles" in note]
    else:
        assert len([note for note in source.notes if "cycles" in note or note.startswith("off")]) == 1


@pytest.mark.parametrize(
    ("code", "some", "told"),
    [
        (errno.ENOENT, True, "no cycles, instructions, since the processor's counters are not there (ENOENT)"),
        (errno.EACCES, True, "kernel.perf_event_paranoid=2"),
        (errno.EPERM, False, "add the capability PERFMON"),
        (errno.EMFILE, False, "ulimit -n"),
        (errno.ENOSYS, False, "off, since this kernel has no perf events"),
    ],
)
def test_what_the_kernel_refuses_is_told_once_with_the_mend(
    code: int, some: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Refused:
        def __init__(self, kind: int, config: int, thread: int, *, user_only: bool) -> None:
            asked.append("user" if user_only else "all")
            if some and kind == SOFTWARE:
                return
            if not some or config in (0, 1):
                raise OSError(code, os.strerror(code))

        def read(self) -> Reading:
            return Reading(1, 1, 1)

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(perf, "Event", Refused)
    monkeypatch.setattr(perf, "supported", lambda: True)
    monkeypatch.setattr(perf, "threads", lambda pid: iter([pid]))
    source = Perf(os.getpid())
    (note,) = source.notes
    assert told in note
    assert note.startswith("no cycles" if some else "off, since")
    assert bool(source.series) is some
    assert ("user" in asked) is (code in (errno.EACCES, errno.EPERM)), "one who may count his own work alone does so"


def test_counts_without_the_kernel_s_own_work_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class UserOnly:
        def __init__(self, kind: int, config: int, thread: int, *, user_only: bool) -> None:
            if not user_only:
                raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(perf, "Event", UserOnly)
    monkeypatch.setattr(perf, "supported", lambda: True)
    monkeypatch.setattr(perf, "threads", lambda pid: iter([pid]))
    source = Perf(os.getpid())
    assert len(source.series) == len(KINDS)
    assert all(series.attributes == {"cpu.mode": "user"} for series in source.series)
    assert source.notes == []


def test_another_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf, "supported", lambda: False)
    (note,) = Perf(os.getpid()).notes
    assert "perf events are Linux's" in note


class Told:
    """An event that reads what it is told to."""

    def __init__(self, readings: list[Reading]) -> None:
        self.readings = iter(readings)

    def read(self) -> Reading:
        return next(self.readings)


def test_a_count_is_scaled_to_the_whole_time() -> None:
    readings = [Reading(100, 10, 10), Reading(150, 20, 15), Reading(150, 30, 15), Reading(180, 50, 20)]
    count = Count(Told(readings))  # type: ignore[arg-type]
    # 50 in half of the time make 100; nothing is known of the third interval until the event had its turn again: 30 in
    # 5 of 30 ns.
    assert [count.read() for _ in readings] == [100, 200, 200, 380]


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=20),
)
def test_a_scaled_count_never_falls_and_is_exact_without_sharing(steps: list[tuple[int, int, int]]) -> None:
    total = enabled = running = 0
    shared, alone = [], []
    for more, turn, wait in steps:
        total += more if turn else 0
        running += turn
        enabled += turn + wait
        shared.append(Reading(total, enabled, running))
        alone.append(Reading(total, running, running))
    count = Count(Told(shared))  # type: ignore[arg-type]
    values = [count.read() for _ in shared]
    assert all(one <= other for one, other in itertools.pairwise(values))
    exact = Count(Told(alone))  # type: ignore[arg-type]
    assert [exact.read() for _ in alone] == pytest.approx([reading.count for reading in alone])
