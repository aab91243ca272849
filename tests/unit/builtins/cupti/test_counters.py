import numpy as np
import pytest

from mlms.builtins.cupti.counters import CuptiCounters, numbered
from mlms.builtins.cupti.table import Attributes
from mlms.builtins.cupti.tracing import CuptiTracing
from mlms.tracing.observations import Activities
from mlms.tracing.recorder import Recorder


def traced(predict, times=2):
    recorder = Recorder()
    with CuptiTracing().attach(recorder), CuptiCounters().attach(recorder):
        recorded = recorder.wrap(predict, recorder.intern("predict", "model"))
        for _ in range(times):
            recorded()
    return recorder


def kernels(recorder):
    (found,) = (each for each in recorder.activities if each.attributes[0].get("mlms.gpu.activity") == "kernel")
    return found


def test_counters_reach_the_kernels_of_every_prediction(fake):
    def predict():
        fake.launch("conv")
        fake.copy(1)
        fake.launch("relu", count=2)

    recorder = traced(predict, times=3)
    CuptiCounters().replay(predict, recorder)
    assert recorder.notes == []
    found = kernels(recorder)
    assert len(found.attributes) == 9
    for each in found.attributes:
        # The stand-in counts one launch a kernel, times the metric's place in its list.
        assert each["mlms.gpu.flops"] == 2 * 7
        assert each["mlms.gpu.dram_read_bytes"] == 5
        assert each["mlms.gpu.dram_write_bytes"] == 6
        assert each["mlms.gpu.occupancy"] == pytest.approx(0.08)
        assert "mlms.gpu.tensor_pipe_utilization" not in each  # this chip doesn't count it
        assert each["mlms.gpu.grid"] == [1, 2, 3]


def test_a_prediction_with_other_kernels_has_none_and_a_note(fake):
    names = iter(["conv", "conv", "other", "conv", "conv"])
    recorder = traced(lambda: fake.launch(next(names)), times=3)
    CuptiCounters().replay(lambda: fake.launch(next(names)), recorder)
    counted = ["mlms.gpu.flops" in each for each in kernels(recorder).attributes]
    assert counted == [True, True, False]
    (note,) = recorder.notes
    assert note.startswith("cupti_counters: 1 of 3 kernels have no counters")


def test_kernels_that_cant_be_told_apart_are_a_note(fake):
    counts = iter([2, 2, 3])
    recorder = traced(lambda: fake.launch(count=2), times=1)
    CuptiCounters().replay(lambda: fake.launch(count=next(counts)), recorder)
    counted = {"mlms.gpu.flops" in each for each in kernels(recorder).attributes}
    assert counted == {True}
    CuptiCounters().replay(lambda: fake.launch(count=next(counts, 5)), recorder)
    assert recorder.notes == [
        "cupti_counters: off: a prediction launches 3 kernels but 5 could be counted; those of a CUDA graph can't be "
        "told apart"
    ]


def test_restricted_counters_are_a_note_and_the_trace_stays(fake, monkeypatch):
    monkeypatch.setenv("FAKE_RANGE_RESULT", "35")
    recorder = traced(fake.launch)
    before = list(kernels(recorder).attributes)
    CuptiCounters().replay(fake.launch, recorder)
    (note,) = recorder.notes
    assert note.startswith("cupti_counters: off: ")
    assert "NVreg_RestrictProfilingToAdminUsers=0" in note
    assert list(kernels(recorder).attributes) == before


def test_without_kernels_nothing_is_replayed():
    recorder = Recorder()
    CuptiCounters().replay(lambda: pytest.fail("predicted"), recorder)
    assert recorder.activities == recorder.notes == []


def sequence(names, threads=None, correlations=None):
    distinct = sorted(set(names))
    rows = len(names)
    return Activities(
        level="library",
        names=distinct,
        name=np.array([distinct.index(name) for name in names]),
        start_ns=np.arange(rows),
        end_ns=np.arange(rows) + 1,
        launched_in=np.zeros(rows, np.int64),
        attributes=Attributes(
            {
                "thread.id": np.array(threads or [7] * rows, dtype=object),
                "mlms.cuda.correlation_id": np.array(correlations or range(rows)),
            },
            rows,
        ),
    )


@pytest.mark.parametrize(
    ("names", "launched", "expected"),
    [
        ("abab", "ab", [0, 1, 0, 1]),
        ("aabab", "aab", [0, 1, 2, -1, -1]),
        ("aaaa", "aa", [0, 1, 0, 1]),
        ("xaby", "ab", [-1, 0, 1, -1]),
        ("ab", "abc", [-1, -1]),
        ("ab", "xy", [-1, -1]),
        ("ab", "", [-1, -1]),
    ],
)
def test_kernels_are_paired_by_name_and_order(names, launched, expected):
    assert numbered(sequence(list(names)), list(launched)).tolist() == expected


def test_threads_that_take_turns_are_paired_apart():
    found = sequence(list("aabb"), threads=[1, 2, 1, 2])
    assert numbered(found, ["a", "b"]).tolist() == [0, 0, 1, 1]
    assert numbered(sequence(list("ab"), threads=[1, 2]), ["a", "b"]).tolist() == [-1, -1]


def test_the_order_is_that_of_launching_not_of_running():
    found = sequence(list("ba"), correlations=[2, 1])
    assert numbered(found, ["a", "b"]).tolist() == [1, 0]
