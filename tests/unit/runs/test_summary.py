import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.records import record
from mlms.runs.summary import Row, format_duration, summary_rows


def test_a_whole_record() -> None:
    assert summary_rows(record(warnings=["the disk is slow"])) == [
        Row("top1", "98.8889 %", "published 98.8889 %, difference 0.0000 pp"),
        Row("top5", "100.0000 %", "450 samples"),
        Row("latency p50", "80.11 µs", "100 queries after 10 of warm-up"),
        Row("latency p90", "90.22 µs"),
        Row("latency p99", "insufficient (100 of 662)"),
        Row("throughput", "12,000 samples/s", "over 2.010 s"),
        Row("scenario", "single_stream, valid"),
        Row("device", "cpu, float32", "A CPU"),
        Row("warning", "the disk is slow"),
    ]


def test_accuracy_that_is_not_reported() -> None:
    rows = summary_rows(record(metrics=[], accuracy={"reported": False, "reason": "the weights are random"}))
    assert rows[0] == Row("accuracy", "not reported", "the weights are random")


def test_a_figure_published_on_other_data_has_no_difference() -> None:
    published = {"value": 56.522, "dataset": "imagenet-1k-val", "source": None, "difference": None}
    metric = {"name": "top1", "value": 50.0, "unit": "%", "samples": 2, "published": published}
    assert summary_rows(record(metrics=[metric]))[0].note == "published 56.5220 % on imagenet-1k-val"


def test_an_invalid_run_says_why() -> None:
    scenario = record()["scenario"] | {"valid": False, "problems": ["too few queries", "too short"]}
    assert Row("scenario", "single_stream, invalid", "too few queries; too short") in summary_rows(
        record(scenario=scenario)
    )


def test_the_gpu_that_was_used_is_named() -> None:
    model = record()["model"] | {"describe": {"device": "cuda:1", "dtype": "float16"}}
    gpus = [{"name": name, "memory_bytes": 1, "driver": "1"} for name in ("first", "second")]
    environment = record()["environment"] | {"gpus": gpus}
    assert Row("device", "cuda:1, float16", "second") in summary_rows(record(model=model, environment=environment))
    environment |= {"variables": {"CUDA_VISIBLE_DEVICES": "1,0"}}
    framework = record()["framework"] | {"describe": {"gpus": gpus[::-1]}}
    seen = summary_rows(record(model=model, environment=environment, framework=framework))
    assert Row("device", "cuda:1, float16", "first") in seen, "as CUDA shows them to the framework"
    assert Row("device", "cuda:1, float16", "") in summary_rows(record(model=model, environment=environment))
    alike = environment | {"gpus": gpus[:1] * 3}
    assert Row("device", "cuda:1, float16", "first") in summary_rows(record(model=model, environment=alike))


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1.000 µs"),
        (999_999, "1.000 ms"),
        (12_345_678, "12.35 ms"),
        (6e10, "60.00 s"),
    ],
)
def test_durations(nanoseconds: float, text: str) -> None:
    assert format_duration(nanoseconds) == text


@given(st.floats(1, 1e13))
def test_a_duration_is_right_to_three_digits(nanoseconds: float) -> None:
    number, unit = format_duration(nanoseconds).replace(",", "").split()
    shown = float(number) * {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit]
    assert abs(shown - nanoseconds) <= max(0.5, nanoseconds * 1e-3)
