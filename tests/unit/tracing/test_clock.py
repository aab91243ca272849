import time

import numpy as np

from mlms.tracing import clock


def test_the_anchor_is_taken_once() -> None:
    assert clock.anchor() is clock.anchor()


def test_now_is_unix_time() -> None:
    before, now, after = time.time_ns(), clock.now(), time.time_ns()
    assert before - 50_000_000 < now < after + 50_000_000


def test_now_never_goes_back() -> None:
    instants = [clock.now() for _ in range(10_000)]
    assert instants == sorted(instants)


def test_arrays_keep_their_differences_to_the_nanosecond() -> None:
    readings = np.array([0, 1, 10**15], dtype=np.int64)
    placed = clock.unix_ns(readings)
    assert placed.dtype == np.int64
    assert placed.tolist() == [clock.unix_ns(int(reading)) for reading in readings]
    assert np.diff(placed).tolist() == np.diff(readings).tolist()
