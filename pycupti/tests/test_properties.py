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
    tracer = pycupti.Tracer(buffer_mib=session["buffer_kib"] * KIB, max_buffers=session["max_buffers"])
    with tracer:
        fake.launch_threads(session["launches"], session["threads"], first_span=1)
        fake.graph(nodes=3, replays=4)
    records, stats = tracer.drain(), tracer.stats
    assert len(records) + stats.unknown_kinds == stats.records
    assert stats.records + stats.dropped == fake.emitted
    assert stats.dropped == fake.lost
    assert stats.truncated == stats.out_of_memory == stats.buffers_outstanding == 0
    assert stats.bad_timestamps == int((records.kernels["start"] == 0).sum())
    fake.set(Switch.VERSION, 130001)


@SETTINGS
@given(st.sampled_from([4, 8, 64]), st.integers(1, 6), st.booleans(), st.integers(1, 300))
def test_the_join_does_not_depend_on_buffers_or_threads(fake, buffer_kib, threads, asynchronous, launches):
    fake.reset()
    fake.set(Switch.ASYNC, asynchronous)
    fake.set(Switch.DUPLICATES, 3)
    with pycupti.Tracer(buffer_mib=buffer_kib * KIB, max_buffers=4096) as tracer:
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
    links = np.zeros(count, dtype("correlations"))
    links["correlation"] = np.arange(1, count + 1)
    links["span"] = data.draw(st.lists(st.integers(1, 2**64 - 1), min_size=count, max_size=count))
    kernels = np.zeros(count + 3, dtype("kernels"))
    kernels["correlation"] = np.arange(1, count + 4)
    tables = empty() | {"correlations": links, "kernels": kernels}
    expected = pycupti.attribute(Records(**tables, names=())).kernels
    assert expected.tolist() == [*links["span"].tolist(), 0, 0, 0]
    shuffled = np.array(data.draw(st.permutations(range(count))))
    again = tables | {"correlations": np.concatenate([links[shuffled], links[: count // 2]])}
    assert pycupti.attribute(Records(**again, names=())).kernels.tolist() == expected.tolist()


@SETTINGS
@given(st.lists(st.sampled_from(["push", "pop", "start", "stop", "launch"]), max_size=60))
def test_stacks_balance_and_sessions_are_idempotent(fake, actions):
    fake.reset()
    tracer = pycupti.Tracer(buffer_mib=16 * KIB, max_buffers=64)
    depth = launched = 0
    for action in actions:
        if action == "push":
            tracer.push(depth + 1)
            depth += 1
        elif action == "pop":
            assert tracer.pop() == (0 if depth else 18)
            depth = max(0, depth - 1)
        elif action == "launch":
            fake.launch()
            launched += tracer.running
        else:
            getattr(tracer, action)()
            if action == "start" and tracer.running:
                launched = launched if len(actions) else 0
        assert fake.depth <= depth
    while depth:
        assert tracer.pop() == 0
        depth -= 1
    assert fake.depth == 0
    tracer.stop()
    assert not fake.subscribed
    assert fake.enabled == 0
