"""The tracer over the stand-in libcupti."""

import os
import threading
import time

import numpy as np
import pytest

import pycupti
from fake.driver import Switch
from pycupti import Kind

ALL_KINDS = tuple(Kind)
VERSIONS = (18, 20, 22, 24, 26, 28, 130001, 130500)
KIB = 1 / 1024


def small(**options):
    return pycupti.Tracer(**{"buffer_mib": 64 * KIB, "max_buffers": 512, **options})


def collect(tracer):
    assert tracer.flush()
    return tracer.drain()


@pytest.fixture(params=VERSIONS)
def version(request, fake):
    fake.set(Switch.VERSION, request.param)
    yield request.param
    fake.set(Switch.VERSION, 130001)


def test_every_field_survives_at_every_stride(fake, version):
    with small(kinds=ALL_KINDS) as tracer:
        fake.launch("gemm", stream=9)
        fake.copy(4096)
        fake.copy(8192, peer=True)
        fake.memset(512)
        fake.others()
        fake.launch("gemm", stream=10)
        records = collect(tracer)
    kernel = records.kernels[0]
    assert records.names[kernel["name"]] == "gemm"
    assert kernel["stream"] == 9
    assert kernel["end"] == kernel["start"] + 100
    assert kernel["grid"].tolist() == [1, 2, 3]
    assert kernel["block"].tolist() == [32, 4, 1]
    assert [int(kernel[f]) for f in ("static_shared", "dynamic_shared", "local_per_thread", "registers")] == [
        48,
        1024,
        16,
        40,
    ]
    assert records.kernels["stream"].tolist() == [9, 10]
    assert records.copies["bytes"].tolist() == [4096, 8192]
    assert records.copies["direction"].tolist() == [1, 10]
    assert records.copies["source_device"].tolist() == [0, 1]
    assert records.copies["destination_device"].tolist() == [0, 2]
    assert records.copies["is_async"].tolist() == [1, 1]
    memset = records.sets[0]
    assert [int(memset[f]) for f in ("bytes", "value", "memory_kind", "is_async")] == [512, 255, 3, 1]
    overhead = records.overheads[0]
    assert overhead["object"].tolist() == [11, 12, 13]
    assert int(overhead["correlation"]) == (99 if version >= 22 else 0)
    wait = records.synchronizations[0]
    assert [int(wait[f]) for f in ("type", "correlation", "stream", "event")] == [3, 98, 7, 5]
    marker = records.markers[0]
    assert (records.names[marker["name"]], records.names[marker["domain"]]) == ("layer", "mine")
    assert [int(marker[f]) for f in ("flags", "id", "process", "thread")] == [2, 4, 21, 22]
    memory = records.memory[0]
    assert [int(memory[f]) for f in ("address", "bytes", "operation", "process", "is_async")] == [0xF00, 64, 1, 31, 1]
    assert records.names[memory["name"]] == "buffer"
    assert len(records) - len(records.calls) == fake.emitted == tracer.stats.records


def test_kinds_that_were_not_asked_for_stay_off(fake):
    with small(kinds=[Kind.KERNEL]) as tracer:
        fake.launch()
        fake.copy(1)
        fake.others()
        assert fake.enabled == 1
        records = collect(tracer)
    assert len(records) == len(records.kernels) == 1


def test_correlation_reaches_kernels_copies_and_calls(fake):
    with small() as tracer:
        with tracer.correlate(11):
            fake.launch()
            with tracer.correlate(12):
                fake.copy(1)
            fake.memset(1)
        fake.launch()
        records = collect(tracer)
    spans = pycupti.attribute(records)
    assert spans.kernels.tolist() == [11, 0]
    assert spans.copies.tolist() == [12]
    assert spans.sets.tolist() == [11]
    assert spans.calls.tolist() == [11, 12, 11, 0]


def test_graph_kernels_go_to_the_span_of_their_capture(fake):
    with small() as tracer:
        with tracer.correlate(21):
            fake.graph(nodes=3, replays=0)
        with tracer.correlate(22):
            fake.graph(nodes=2, replays=100)
        records = collect(tracer)
    assert len(records.kernels) == 200
    assert len(np.unique(records.kernels["correlation"])) == 100
    assert set(pycupti.attribute(records).kernels.tolist()) == {22}
    assert set(records.graph_nodes["span"].tolist()) >= {21, 22}


def test_graph_kernels_without_a_known_capture_go_to_their_launch(fake):
    with small(graph_nodes=False) as tracer:
        with tracer.correlate(23):
            fake.graph(nodes=2, replays=1)
        records = collect(tracer)
    assert pycupti.attribute(records).kernels.tolist() == [23, 23]


def test_calls_that_are_told_twice_or_never(fake):
    fake.set(Switch.DUPLICATES, 2)
    fake.set(Switch.MISSING, 5)
    with small() as tracer:
        for span in range(1, 101):
            with tracer.correlate(span):
                fake.launch()
        records = collect(tracer)
    expected = [0 if span % 5 == 0 else span for span in range(1, 101)]
    assert pycupti.attribute(records).kernels.tolist() == expected
    assert len(records.calls) > 80


def test_bad_times_and_unknown_kinds_are_counted_and_harmless(fake):
    fake.set(Switch.ZERO_TIMES, 10)
    fake.set(Switch.UNKNOWN, 4)
    with small(kinds=[Kind.KERNEL]) as tracer:
        fake.launch(count=100)
        records = collect(tracer)
    assert len(records.kernels) == 100
    assert tracer.stats.bad_timestamps == 10
    assert tracer.stats.unknown_kinds == 25
    assert int((records.kernels["start"] == 0).sum()) == 10
    assert tracer.stats.records == fake.emitted == 125


def test_a_buffer_that_ends_inside_a_record(fake):
    fake.set(Switch.TRUNCATE, 100)
    with small(kinds=[Kind.KERNEL]) as tracer:
        fake.launch(count=10)
        records = collect(tracer)
    assert len(records.kernels) == 9
    assert tracer.stats.truncated == 1


def test_two_buffers_lose_records_but_never_count_wrong(fake):
    fake.set(Switch.ASYNC, 1)
    fake.set(Switch.DELAY_US, 2000)
    with small(max_buffers=2) as tracer:
        fake.launch(count=20_000)
        records = collect(tracer)
        stats = tracer.stats
    assert stats.rejected > 0
    assert stats.dropped == fake.lost > 0
    assert len(records.kernels) + stats.dropped == fake.emitted == 20_000
    assert len(records.calls) == fake.told == 20_000
    assert stats.buffers_allocated == 2


def test_an_old_library_is_given_memory_rather_than_a_refusal(fake):
    fake.set(Switch.VERSION, 26)
    fake.set(Switch.ASYNC, 1)
    fake.set(Switch.DELAY_US, 2000)
    try:
        with small(max_buffers=2) as tracer:
            fake.launch(count=20_000)
            assert len(collect(tracer).kernels) == 20_000
    finally:
        fake.set(Switch.VERSION, 130001)
    assert tracer.stats.rejected == tracer.stats.dropped == 0
    assert tracer.stats.buffers_allocated > 2


def test_a_flush_waits_for_buffers_that_come_back_late(fake):
    fake.set(Switch.ASYNC, 1)
    fake.set(Switch.DELAY_US, 50_000)
    with small() as tracer:
        fake.launch(count=100)
        assert len(collect(tracer)) == 200


def test_a_flush_that_gives_nothing_back_is_forced(fake):
    fake.set(Switch.KEEP_BUFFERS, 1)
    with small(timeout_s=0.2) as tracer:
        fake.launch(count=100)
        assert len(collect(tracer)) == 200


def test_a_flush_that_takes_too_long_says_so(fake):
    fake.set(Switch.ASYNC, 1)
    fake.set(Switch.DELAY_US, 300_000)
    with small(timeout_s=0.05) as tracer:
        fake.launch(count=10)
        assert not tracer.flush()
        assert tracer.stats.buffers_outstanding == 1
        time.sleep(0.4)


def test_drains_follow_each_other(fake):
    with small() as tracer:
        fake.launch("first", count=10)
        first = collect(tracer)
        fake.launch("second", count=20)
        second = collect(tracer)
        assert len(tracer.drain()) == 0
    merged = pycupti.merge([first, second])
    assert (len(first.kernels), len(second.kernels), len(merged.kernels)) == (10, 20, 30)
    assert [merged.names[i] for i in merged.kernels["name"][[0, 29]]] == ["first", "second"]


def test_arrays_own_their_memory(fake):
    with small() as tracer:
        fake.launch(count=1000)
        kernels = collect(tracer).kernels
    with small() as tracer:
        fake.launch(count=1000)
        collect(tracer)
    assert set(kernels["stream"].tolist()) == {7}
    assert kernels.base is not None


def test_records_stay_after_stop(fake):
    tracer = small()
    tracer.start()
    fake.launch(count=5)
    tracer.stop()
    assert len(tracer.drain().kernels) == 5


def test_start_and_stop_are_idempotent(fake):
    tracer = small()
    tracer.stop()
    for _ in range(3):
        tracer.start()
        tracer.start()
        assert tracer.running
        assert fake.subscribed
        fake.launch()
        tracer.stop()
        tracer.stop()
        assert not tracer.running
        assert not fake.subscribed
        assert fake.enabled == 0
        assert len(tracer.drain().kernels) == 1
    fake.launch()
    assert len(tracer.drain()) == 0


def test_fifty_cycles_reuse_their_buffers(fake):
    for cycle in range(50):
        with small(max_buffers=4) as tracer:
            fake.launch(count=cycle)
            assert len(collect(tracer).kernels) == cycle
        assert tracer.stats.buffers_allocated <= 4


def test_only_one_tracer_runs(fake):
    with small(), pytest.raises(pycupti.Conflict, match=r"another pycupti.Tracer is running"):
        small().start()


def test_another_client_is_a_conflict_with_a_name(fake, monkeypatch):
    monkeypatch.setenv("CUDA_INJECTION64_PATH", "/tools/libtool.so")
    fake.set(Switch.SUBSCRIBE_RESULT, 39)
    with pytest.raises(pycupti.Conflict, match=r"libtool\.so") as caught:
        small().start()
    assert caught.value.code == 39
    assert fake.enabled == 0


def test_a_refused_kind_leaves_nothing_behind(fake):
    fake.set(Switch.ENABLE_RESULT, 27)
    fake.set(Switch.ENABLE_KIND, Kind.OVERHEAD)
    with pytest.raises(pycupti.CuptiError, match="enabling OVERHEAD"):
        small().start()
    assert not fake.subscribed
    assert fake.enabled == 0


def test_a_failing_flush_is_an_error_and_still_stops(fake):
    tracer = small()
    tracer.start()
    fake.set(Switch.FLUSH_RESULT, 8)
    with pytest.raises(pycupti.CuptiError, match="memory ran out"):
        tracer.flush()
    with pytest.raises(pycupti.CuptiError):
        tracer.stop()
    assert not tracer.running
    assert not fake.subscribed


def test_a_device_in_error_is_reported_as_the_driver_s(fake, monkeypatch):
    with small() as tracer:
        # ctypes sees the same environment as the stand-in
        os.environ["FAKE_CUDA_SYNCHRONIZE"] = "700"
        try:
            with pytest.raises(pycupti.DriverError) as caught:
                tracer.flush()
        finally:
            del os.environ["FAKE_CUDA_SYNCHRONIZE"]
    assert caught.value.code == 700


def test_finalise_only_on_request(fake):
    with small():
        pass
    assert not fake.finalized
    with small(finalize=True):
        pass
    assert fake.finalized


def test_pushes_and_pops_balance_across_start_and_stop(fake):
    tracer = small()
    assert tracer.push(1) == 0
    tracer.start()
    fake.launch()
    assert tracer.push(2) == 0
    fake.launch()
    tracer.stop()
    assert pycupti.attribute(tracer.drain()).kernels.tolist() == [1, 2]
    assert [tracer.pop(), tracer.pop(), tracer.pop()] == [0, 0, 18]


def test_too_deep_a_stack_still_balances(fake):
    with small() as tracer:
        codes = [tracer.push(span + 1) for span in range(300)]
        assert codes[255] == 0
        assert codes[256] == 12
        fake.launch()
        assert [tracer.pop() for _ in range(300)] == [0] * 300
        assert tracer.pop() == 18
        records = collect(tracer)
    assert pycupti.attribute(records).kernels.tolist() == [256]


def test_no_callback_needs_the_gil(fake):
    """Launches and completions happen while this thread holds the GIL: a callback into Python would never return."""
    fake.set(Switch.ASYNC, 1)
    with small() as tracer:
        fake.holding_gil.fake_launch_many(b"kernel", 7, 20_000)
        fake.holding_gil.fake_wait_returned()
        assert len(collect(tracer)) == 40_000


def test_threads_keep_their_own_spans(fake):
    def work(tracer, span):
        for _ in range(50):
            with tracer.correlate(span):
                fake.launch(stream=span)

    with small() as tracer:
        threads = [threading.Thread(target=work, args=(tracer, span)) for span in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = collect(tracer)
    assert len(records.kernels) == 400
    assert (pycupti.attribute(records).kernels == records.kernels["stream"]).all()


SESSION = """
import ctypes, os, pycupti
fake = ctypes.CDLL(os.environ["PYCUPTI_LIBCUPTI"])
tracer = pycupti.Tracer()
tracer.start()
fake.fake_launch_many(b"kernel", 7, 1000)
"""


def environment(libraries):
    return {"PYCUPTI_LIBCUDA": str(libraries["cuda"]), "PYCUPTI_LIBCUPTI": str(libraries["cupti"])}


def test_exit_without_stop_is_clean(run_python, libraries):
    done = run_python("-c", SESSION, **environment(libraries))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_traces_nothing_and_breaks_nothing(run_python, libraries):
    code = SESSION + (
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    assert not tracer.running\n"
        "    tracer.push(1), tracer.pop(), tracer.stop()\n"
        "    os._exit(len(tracer.drain()))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "tracer.flush()\n"
        "print(len(tracer.drain().kernels))\n"
    )
    done = run_python("-c", code, **environment(libraries))
    assert done.stdout.split() == ["0", "1000"], done.stderr


def test_senseless_options_are_refused():
    with pytest.raises(ValueError, match="at least one buffer"):
        pycupti.Tracer(max_buffers=0)
    with pytest.raises(ValueError, match="at least one buffer"):
        pycupti.Tracer(buffer_mib=0)
