"""What must hold however records fall into buffers, threads and sessions."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pycupti
from fake.driver import Switch
from pycupti.records import ROW_TYPES, Records, dtype

KIB = 1 / 1024
SETTINGS = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

sessions = st.fixed_dictionaries(
    {
        "version": st.sampled_from([18, 22, 24, 26, 28, 130001, 130500]),
        "buffer_kib": st.sampled_from([4, 5, 16, 64]),
        "max_buffers": st.integers(1, 64),
        "asynchronous": st.booleans(),
        "threads": st.integers(1, 4),
        "launches": st.integers(0, 400),
        "unknown": st.sampled_from([0, 3]),
        "zero": st.sampled_from([0, 5]),
        "missing": st.sampled_from([0, 7]),
        "inner_ids": st.booleans(),
    }
)


@SETTINGS
@given(sessions)
def test_emitted_is_decoded_plus_dropped(fake, session):
    fake.reset()
    fake.set(Switch.VERSION, session["version"])
    fake.set(Switch.ASYNC, session["asynchronous"])
    fake.set(Switch.UNKNOWN, session["unknown"])
    fake.set(Switch.ZERO_TIMES, session["zero"])
    fake.set(Switch.MISSING, session["missing"])
    fake.set(Switch.INNER_IDS, session["inner_ids"])
    tracer = pycupti.Tracer(
        [*pycupti.DEFAULT_KINDS, pycupti.Kind.RUNTIME],
        buffer_mib=session["buffer_kib"] * KIB,
        max_buffers=session["max_buffers"],
    )
    with tracer:
        fake.launch_threads(session["launches"], session["threads"], first_span=1)
        fake.graph(nodes=3, replays=4)
    records, stats = tracer.drain(), tracer.stats
    assert len(records) + stats.unknown_kinds == stats.records + stats.calls
    assert stats.records + stats.dropped == fake.emitted
    assert stats.dropped == fake.lost
    assert len(records.calls) == stats.calls == fake.told
    assert stats.calls_dropped == 0
    assert stats.truncated == stats.out_of_memory == stats.buffers_outstanding == 0
    assert stats.bad_timestamps == int((records.kernels["start"] == 0).sum())
    fake.set(Switch.VERSION, 130001)


@SETTINGS
@given(st.sampled_from([4, 8, 64]), st.integers(1, 6), st.booleans(), st.integers(1, 300), st.booleans())
def test_the_join_does_not_depend_on_buffers_or_threads(fake, buffer_kib, threads, asynchronous, launches, inner_ids):
    fake.reset()
    fake.set(Switch.ASYNC, asynchronous)
    fake.set(Switch.DUPLICATES, 3)
    fake.set(Switch.INNER_IDS, inner_ids)
    kinds = [*pycupti.DEFAULT_KINDS, pycupti.Kind.RUNTIME]
    with pycupti.Tracer(kinds, buffer_mib=buffer_kib * KIB, max_buffers=4096) as tracer:
        fake.launch_threads(launches, threads, first_span=100)
        assert tracer.flush()
        records = tracer.drain()
    # the stand-in's stream is the launching thread's number, and its span that number plus 100
    assert len(records.kernels) == launches * threads
    assert (pycupti.attribute(records).kernels == records.kernels["stream"] + 100).all()


def empty() -> dict[str, np.ndarray]:
    return {table: np.empty(0, dtype(table)) for table in ROW_TYPES}


@SETTINGS
@given(st.data())
def test_the_join_does_not_depend_on_order(data):
    count = data.draw(st.integers(1, 50))
    links = np.zeros(count, dtype("calls"))
    links["correlation"] = np.arange(1, count + 1)
    links["span"] = data.draw(st.lists(st.integers(1, 2**64 - 1), min_size=count, max_size=count))
    kernels = np.zeros(count + 3, dtype("kernels"))
    kernels["correlation"] = np.arange(1, count + 4)
    tables = empty() | {"calls": links, "kernels": kernels}
    expected = pycupti.attribute(Records(**tables, names=())).kernels
    assert expected.tolist() == [*links["span"].tolist(), 0, 0, 0]
    shuffled = np.array(data.draw(st.permutations(range(count))))
    again = tables | {"calls": np.concatenate([links[shuffled], links[: count // 2]])}
    assert pycupti.attribute(Records(**again, names=())).kernels.tolist() == expected.tolist()


@SETTINGS
@given(st.lists(st.sampled_from(["push", "pop", "start", "stop", "launch"]), max_size=60))
def test_stacks_balance_and_sessions_are_idempotent(fake, actions):
    fake.reset()
    tracer = pycupti.Tracer(buffer_mib=16 * KIB, max_buffers=64)
    opened, expected = [], []
    for action in actions:
        if action == "push":
            opened.append(len(opened) + 1)
            assert tracer.push(opened[-1]) == 0
        elif action == "pop":
            assert tracer.pop() == (0 if opened else 18)
            del opened[-1:]
        elif action == "launch":
            fake.launch()
            expected += [opened[-1] if opened else 0] if tracer.running else []
        else:
            if action == "start" and not tracer.running:
                expected = []  # what the last session left is gone when the next begins
            getattr(tracer, action)()
    while opened:
        assert tracer.pop() == opened.pop() * 0
    assert tracer.pop() == 18
    tracer.stop()
    assert pycupti.attribute(tracer.drain()).kernels.tolist() == expected
    assert not fake.subscribed
    assert fake.enabled == 0
