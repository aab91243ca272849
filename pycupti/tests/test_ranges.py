"""Metric planning and the range profiler over the stand-in; planning over a real libcupti too, where there is one."""

import json

import pytest

import pycupti
from pycupti import metrics


def profile(fake, names, **options):
    def region(profiler):
        with profiler.range("forward"):
            for layer, launches in (("conv", 2), ("linear", 3)):
                with profiler.range(layer):
                    fake.launch(count=launches)

    with pycupti.RangeProfiler(names, **options) as profiler:
        return profiler, profiler.measure(lambda: region(profiler))


def test_ranges_of_layers_are_replayed_until_complete(fake):
    runs = []
    with pycupti.RangeProfiler(["fake__launches.sum", "fake__slow.sum"], nesting=2) as profiler:

        def forward():
            runs.append(1)
            with profiler.range("conv"):
                fake.launch(count=2)
            with profiler.range("linear"):
                fake.launch(count=3)

        found = profiler.measure(forward)
        assert profiler.passes == len(runs) == 3
        again = profiler.measure(forward)
    assert [(r.name, r.values) for r in found] == [
        ("conv", {"fake__launches.sum": 2.0, "fake__slow.sum": 8.0}),
        ("linear", {"fake__launches.sum": 3.0, "fake__slow.sum": 12.0}),
    ]
    assert again == found


def test_nested_ranges_carry_their_path(fake):
    _, found = profile(fake, ["fake__launches.sum"], nesting=2)
    assert {r.name: r.values["fake__launches.sum"] for r in found} == {
        "forward/conv": 2.0,
        "forward/linear": 3.0,
        "forward": 5.0,
    }


def test_kernels_are_replayed_by_cupti(fake):
    _, found = profile(fake, ["fake__cycles.sum", "fake__slow.sum"], per_kernel=True)
    assert [r.values for r in found] == [{"fake__cycles.sum": 2.0, "fake__slow.sum": 4.0}] * 5


def test_too_many_ranges_say_so(fake):
    with pytest.raises(ValueError, match="raise max_ranges"):
        profile(fake, ["fake__launches.sum"], max_ranges=2)


def test_all_unknown_metrics_are_named_with_the_nearest(fake):
    with pytest.raises(pycupti.UnknownMetric, match="did you mean fake__launches") as caught:
        profile(fake, ["fake__lanches.sum", "fake__cycles.sum", "other.sum"])
    assert caught.value.names == ("fake__lanches.sum", "other.sum")


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        ("35", pycupti.CountersRestricted, "NVreg_RestrictProfilingToAdminUsers=0"),
        ("40", pycupti.CountersRestricted, "hypervisor"),
        ("26", pycupti.CountersBusy, "dcgmi"),
        ("33", pycupti.CuptiError, "virtual GPU"),
    ],
)
def test_counters_that_cannot_be_had(fake, monkeypatch, code, error, said):
    monkeypatch.setenv("FAKE_RANGE_RESULT", code)
    with pytest.raises(error, match=said):
        profile(fake, ["fake__launches.sum"])


def test_an_unsupported_device(fake, monkeypatch):
    monkeypatch.setenv("FAKE_RANGE_UNSUPPORTED", "1")
    with pytest.raises(pycupti.Unavailable, match="doesn't support range profiling"):
        profile(fake, ["fake__launches.sum"])


def test_never_together_with_a_tracer(fake):
    with pycupti.Tracer(), pytest.raises(pycupti.Conflict, match="while a tracer runs"):
        profile(fake, ["fake__launches.sum"])


def test_counting_after_cupti_was_finalised_attaches_it_again(fake):
    with pycupti.Tracer(finalize=True):
        pass
    assert fake.finalized
    assert metrics.chip() == "FAKE100"
    with pycupti.Tracer(finalize=True):
        pass
    _, found = profile(fake, ["fake__launches.sum"], per_kernel=True, finalize=True)
    assert len(found) == 5
    assert fake.finalized
    with pycupti.Tracer() as tracer:
        fake.launch()
        tracer.flush()
        assert len(tracer.drain().kernels) == 1


def test_an_error_inside_a_pass_ends_the_pass(fake):
    with pycupti.RangeProfiler(["fake__launches.sum"]) as profiler:
        with pytest.raises(RuntimeError, match="mine"):
            profiler.measure(lambda: (_ for _ in ()).throw(RuntimeError("mine")))
        assert profiler.measure(lambda: None) == []


def test_planning(fake):
    assert metrics.chips() == ("FAKE100", "FAKE200")
    counters = metrics.available("FAKE100")["counter"]
    assert {"fake__bytes", "fake__cycles", "fake__launches", "fake__slow"} <= set(counters)
    assert metrics.known("FAKE100", metrics.ROOFLINE) == (
        "dram__bytes_read.sum",
        "dram__bytes_write.sum",
        "sm__warps_active.avg.pct_of_peak_sustained_active",
    )
    assert metrics.flop_counters("FAKE100") == ("smsp__sass_thread_inst_executed_op_ffma_pred_on.sum",)
    assert metrics.chip() == "FAKE100"
    assert metrics.submetrics("FAKE100", "fake__bytes") == (".sum",)
    assert metrics.plan("FAKE100", ["fake__bytes.sum"]).passes == 1
    assert metrics.plan("FAKE100", ["fake__bytes.sum", "fake__slow.sum"]).passes == 3
    with pytest.raises(pycupti.UnknownMetric) as caught:
        metrics.plan("FAKE100", ["fake__bites.sum"])
    assert caught.value.names == ("fake__bites.sum",)
    with pytest.raises(pycupti.CuptiError, match="no such chip") as wrong:
        metrics.plan("fake100", ["fake__bytes.sum"])
    assert wrong.value.code == 46
    with pytest.raises(pycupti.UnknownMetric):
        metrics.submetrics("FAKE100", "nothing")


def test_planning_with_a_libcupti_that_crashes(run_python, libraries):
    code = "import pycupti\ntry:\n    pycupti.metrics.chips()\nexcept pycupti.Unavailable as error:\n    print(error)"
    done = run_python("-c", code, PYCUPTI_LIBCUPTI=str(libraries["crash"]))
    assert "ended without an answer" in done.stdout, done.stderr


REAL = """
import json, pycupti
from pycupti import metrics
try:
    chips = metrics.chips()
except pycupti.PycuptiError as error:
    print(json.dumps({"skip": str(error)}))
else:
    everything = metrics.ROOFLINE + metrics.flop_counters("GH100")
    sets = [metrics.ROOFLINE, everything, ["sm__throughput.avg.pct_of_peak_sustained_elapsed"]]
    try:
        metrics.plan("GH100", ["gpu__time_duration.sum", "dram__bites_read.sum", "nothing.sum"])
    except pycupti.UnknownMetric as error:
        bad = error.names
    print(json.dumps({"chips": chips, "passes": [metrics.plan("GH100", s).passes for s in sets], "bad": bad,
                      "counters": len(metrics.available("GH100")["counter"])}))
"""


def test_planning_with_a_real_libcupti(run_python):
    done = run_python("-c", REAL)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    if "skip" in said:
        pytest.skip(said["skip"])
    assert "GH100" in said["chips"]
    assert said["passes"] == [1, 5, 8]
    assert said["bad"] == ["dram__bites_read.sum", "nothing.sum"]
    assert said["counters"] > 3000
