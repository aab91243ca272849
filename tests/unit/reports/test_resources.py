from typing import Any

from mlms.reports.resources import resource_lines

RECORD: dict[str, Any] = {
    "repeat": {"index": 2, "of": 3, "group": "ab"},
    "cold_start": {
        "runs": [{"import_s": 1.5, "load_s": 0.25, "first_inference_s": 0.001}],
        "median": {"import_s": 1.5, "load_s": 0.25, "first_inference_s": 0.001},
    },
    "latency": {
        "coincidences": {
            "gc": {"events": 1, "queries": 2, "outliers": 1},
            "page_faults": {"events": 12, "queries": None, "outliers": None},
            "throttled": {"events": 0, "queries": 0, "outliers": 0},
        }
    },
    "resources": {
        "peak_rss_bytes": 64 * 2**20,
        "device_peak_bytes": 2**30,
        "cpu_share": 1.234,
        "energy_joules": 1234.56,
        "energy_idle_watts": 40.0,
        "flops_per_sample": 1.43e9,
        "arithmetic_intensity": 5.8123,
    },
}


def test_all_that_is_known_is_said() -> None:
    assert list(resource_lines(RECORD)) == [
        ("repeat", "2 of 3"),
        ("cold start", "import 1.500 s, load 250.0 ms, first inference 1.000 ms (median of 1)"),
        ("peak memory", "64.0 MiB, 1.0 GiB on the device"),
        ("CPU", "1.23 CPUs busy while measuring"),
        (
            "meanwhile",
            "1 garbage collection in 2 queries (1 of the outliers), 12 page faults read from disk, 0 times throttled",
        ),
        ("energy", "1,234.6 J, idle machine 40.0 W"),
        ("arithmetic", "1.43 GFLOPs a sample, 5.81 FLOPs/byte"),
    ]


def test_what_tracing_adds_and_what_memory_could_not_hold_is_said() -> None:
    levels = [
        {"level": "model", "predictions": 100, "median_ns": 342_000, "overhead": 0.0},
        {"level": "framework", "predictions": 100, "median_ns": 341_000, "overhead": -0.003},
        {"level": "layer", "predictions": 100, "median_ns": 347_000, "overhead": 0.0146},
    ]
    trace = {"level": "layer", "spans": 4_000_000, "levels": levels, "spilled": 3}
    assert list(resource_lines({"trace": trace})) == [
        ("levels", "model 342.0 µs, framework -0.3% (noise), layer +1.5%"),
        ("trace", "4,000,000 spans, 3 parts of them went through the disk"),
    ]


def test_a_machine_that_does_not_tell_of_throttling() -> None:
    gc = {"events": 0, "queries": 0, "outliers": 0}
    record = {"latency": {"coincidences": {"gc": gc, "page_faults": None, "throttled": None}}}
    assert list(resource_lines(record)) == [("meanwhile", "0 garbage collections")]


def test_what_is_not_known_is_left_out() -> None:
    assert list(resource_lines({})) == []
    assert list(resource_lines({"repeat": None, "cold_start": None, "resources": {"flops_per_sample": 2.0}})) == [
        ("arithmetic", "2 FLOPs a sample")
    ]
