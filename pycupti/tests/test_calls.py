"""API calls, as the tracer's callbacks see them."""

import ctypes
import threading
import time

import numpy as np
import pytest

import pycupti
from fake.driver import Switch
from pycupti import Kind

KIB = 1 / 1024


def small(**options):
    return pycupti.Tracer(**{"buffer_mib": 64 * KIB, "max_buffers": 512, **options})


def collect(tracer):
    assert tracer.flush()
    return tracer.drain()


@pytest.mark.parametrize("all_calls", [False, True])
def test_calls_that_only_ask_are_left_out_unless_wanted(fake, all_calls):
    with small(kinds=[*pycupti.DEFAULT_KINDS, Kind.RUNTIME], all_calls=all_calls) as tracer:
        fake.launch()
        fake.query()
        fake.synchronize()
        fake.memset(1)
        records = collect(tracer)
    names = [tracer.call_name(call["domain"], call["function"]) for call in records.calls]
    launch, query = ["cuLaunchKernel", "cudaLaunchKernel_v7000"], ["cuInit", "cudaGetDevice_v3020"]
    wait = ["cuStreamSynchronize", "cudaStreamSynchronize_v3020"]
    assert names == [*launch, *query * all_calls, *wait, "cuMemsetD8Async"]


def test_a_libcupti_newer_than_the_driver_refuses_calls_that_the_driver_lacks(fake):
    fake.set(Switch.OLD_DRIVER, 1)
    with small() as tracer:
        fake.launch()
        records = collect(tracer)
    assert [tracer.call_name(call["domain"], call["function"]) for call in records.calls] == ["cuLaunchKernel"]


def test_a_libcupti_that_refuses_every_call_is_an_error(fake):
    fake.set(Switch.ENABLE_RESULT, 1)
    fake.set(Switch.ENABLE_KIND, int(Kind.DRIVER))
    with pytest.raises(pycupti.CuptiError, match="enabling DRIVER"):
        small().start()
    assert not fake.subscribed


@pytest.mark.parametrize(("kind", "domains"), [(Kind.RUNTIME, [2]), (Kind.DRIVER, [1])])
def test_calls_of_one_api_alone(fake, kind, domains):
    with small(kinds=[Kind.KERNEL, kind]) as tracer:
        fake.launch()
        records = collect(tracer)
    assert records.calls["domain"].tolist() == domains


def test_a_call_is_what_its_thread_saw(fake):
    before = time.time_ns()
    with small(kinds=[Kind.KERNEL, Kind.RUNTIME, Kind.DRIVER]) as tracer, tracer.correlate(2**64 - 1):
        fake.launch()
        records = collect(tracer)
    driver, runtime = records.calls
    assert before <= runtime["start"] <= driver["start"] <= driver["end"] <= runtime["end"] <= time.time_ns()
    assert runtime["correlation"] == driver["correlation"] == records.kernels[0]["correlation"]
    assert {int(driver["thread"]), int(runtime["thread"])} == {threading.get_ident()}
    assert {int(driver["span"]), int(runtime["span"])} == {2**64 - 1}
    assert runtime["result"] == 0


def test_a_driver_call_with_an_id_of_its_own_is_no_obstacle(fake):
    fake.set(Switch.INNER_IDS, 1)
    with small(kinds=[Kind.KERNEL, Kind.RUNTIME, Kind.DRIVER]) as tracer, tracer.correlate(7):
        fake.launch()
        records = collect(tracer)
    assert len(set(records.calls["correlation"].tolist())) == 2
    assert pycupti.attribute(records).kernels.tolist() == [7]


def test_the_synchronise_of_a_flush_is_no_call_of_the_program(fake, libraries):
    told = ctypes.c_void_p.in_dll(ctypes.CDLL(str(libraries["cuda"])), "fake_on_synchronize")
    told.value = ctypes.cast(fake.library.fake_synchronize, ctypes.c_void_p).value
    try:
        with small() as tracer:
            fake.synchronize()
            before = fake.told
            assert len(collect(tracer).calls) == 1
            assert fake.told > before
    finally:
        told.value = None


def test_many_more_calls_than_a_log_s_first_piece(fake):
    with small() as tracer, tracer.correlate(9):
        fake.launch(count=50_000)
        records = collect(tracer)
        assert tracer.stats.calls == fake.told == 50_000
    assert len(records.calls) == 50_000
    assert (np.diff(records.calls["end"].astype(np.int64)) >= 0).all()
    assert (pycupti.attribute(records).kernels == 9).all()


def test_a_callback_after_the_end_is_harmless(fake):
    with small() as tracer:
        fake.launch()
    fake.late()
    assert len(tracer.drain().calls) == 1
    with small() as tracer:
        fake.late()
        assert len(collect(tracer).calls) == 1


def test_a_call_that_began_before_the_tracer_has_its_end_only(fake):
    with small() as tracer:
        fake.late()
        call = collect(tracer).calls[0]
    assert 0 < call["start"] <= call["end"] <= time.time_ns()


def test_work_knows_the_call_that_launched_it(fake):
    with small() as tracer:
        fake.launch(count=3)
        fake.memset(1)
        records = collect(tracer)
    assert pycupti.launching_calls(records, records.kernels).tolist() == [0, 1, 2]
    assert pycupti.launching_calls(records, records.sets).tolist() == [3]
    with small(kinds=[Kind.KERNEL]) as tracer:
        fake.launch()
        records = collect(tracer)
    assert pycupti.launching_calls(records, records.kernels).tolist() == [-1]
