"""What is worth showing of a run, in plain text, for the terminal, a notebook and the report alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOTHING = "-"
MINUS = "\N{MINUS SIGN}"
UNSTEADY = ("drifting", "bimodal", "not steady")
"""Labels of a latency series that one figure doesn't tell."""
_SHOWN_PERCENTILES = (50.0, 90.0, 99.0)
_DURATIONS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"))


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what it is, the figure, and what puts it into perspective ("" for nothing)."""

    label: str
    value: str
    note: str = ""


def summary_rows(record: Mapping[str, Any]) -> list[Row]:
    """The result of a run, most wanted first: accuracy, latency, throughput, validity, device, warnings.

    Sections that a record lacks give no rows.
    """
    rows = [_metric(metric) for metric in record["metrics"]]
    accuracy = record.get("accuracy") or {}
    if not accuracy.get("reported", True):
        rows.append(Row("accuracy", "not reported", accuracy.get("reason") or ""))
    rows += _latency(record.get("latency") or {})
    rows += _load(record)
    rows += _device(record)
    rows += [Row("warning", str(warning)) for warning in record.get("warnings", ())]
    return rows


def by_level(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The records of each trace level, in the order given: their times don't compare, so they share no table."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault(str(record["trace"]["level"]), []).append(record)
    return groups


def _metric(metric: Mapping[str, Any]) -> Row:
    value = format_figure(metric["value"], metric["unit"])
    published = metric.get("published")
    if not published:
        return Row(metric["name"], value, f"{metric['samples']:,} samples")
    known = format_figure(published["value"], metric["unit"])
    if published.get("difference") is None:
        return Row(metric["name"], value, f"published {known} on {published['dataset']}")
    difference = format_difference(published["difference"], metric["unit"])
    return Row(metric["name"], value, f"published {known}, difference {difference}")


def _latency(latency: Mapping[str, Any]) -> list[Row]:
    queries = latency.get("queries", 0)
    shown = [entry for entry in latency.get("percentiles", ()) if entry["percentile"] in _SHOWN_PERCENTILES]
    rows = []
    for number, entry in enumerate(shown):
        note = f"{queries:,} queries after {latency.get('warmup_queries', 0):,} of warm-up" if number == 0 else ""
        rows.append(Row(f"latency p{entry['percentile']:g}", format_percentile(entry, queries), note))
    steadiness = latency.get("steadiness") or {}
    if steadiness.get("label") in UNSTEADY:
        rows.append(Row("latency series", steadiness["label"], "; ".join(steadiness["reasons"])))
    if not shown and latency.get("mean") is not None:
        rows.append(Row("latency mean", format_duration(latency["mean"]), f"{queries:,} queries"))
    return rows


def _load(record: Mapping[str, Any]) -> list[Row]:
    rows = []
    throughput, scenario = record.get("throughput"), record.get("scenario")
    if throughput and throughput.get("value") is not None:
        seconds = throughput.get("duration_s")
        note = "" if seconds is None else f"over {format_duration(seconds * 1e9)}"
        rows.append(Row("throughput", format_rate(throughput["value"], throughput["unit"]), note))
    if scenario:
        validity = "valid" if scenario["valid"] else "invalid"
        kind = f"{scenario['type']}, accuracy mode" if scenario.get("mode") == "accuracy" else scenario["type"]
        rows.append(Row("scenario", f"{kind}, {validity}", "; ".join(scenario.get("problems", ()))))
    return rows + [Row(label, text) for label, text in load_lines(record)]


def load_lines(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the load was made: rate and send lag of ``server``, warm-up, the harness's own cost."""
    scenario, warmup, harness = record.get("scenario") or {}, record.get("warmup"), record.get("harness")
    lines = []
    if rate := scenario.get("achieved_rate"):
        lines.append(("answered", f"{rate['achieved']:,.1f} of {rate['target']:,.4g} queries/s ({rate['share']:.1%})"))
    if lag := scenario.get("send_lag"):
        lines.append(("send lag", f"{format_duration(lag['mean_ns'])} on average"))
    if warmup and warmup["steady"] is not None:
        steady = "steady" if warmup["steady"] else "not steady"
        lines.append(("warm-up", f"{steady} after {warmup['queries']:,} predictions"))
    if harness:
        share = harness["share_of_median"]
        of_median = "" if share is None else f", {share:.1%} of the median"
        lines.append(("harness", f"{format_duration(harness['null_query_ns'])} a query{of_median}"))
    return lines


def _device(record: Mapping[str, Any]) -> list[Row]:
    facts = (record.get("model") or {}).get("describe", {})
    if "device" not in facts:
        return []
    if str(facts["device"]) == "cpu":
        hardware = ((record.get("environment") or {}).get("cpu") or {}).get("model") or ""
    else:
        hardware = str((gpu_of(record) or {}).get("name", ""))
    value = ", ".join(str(facts[key]) for key in ("device", "dtype") if facts.get(key))
    return [Row("device", value, hardware)]


def gpu_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The GPU "cuda:N" that a run used; None where that can't be told.

    N counts the GPUs as CUDA shows them to the process, in the framework's own list where it gives one. The machine's
    list knows nothing of CUDA_VISIBLE_DEVICES, so that under it only GPUs that are all alike are told by it.
    """
    environment = record.get("environment") or {}
    shown = ((record.get("framework") or {}).get("describe") or {}).get("gpus")
    gpus: Sequence[Mapping[str, Any]] = shown or environment.get("gpus") or ()
    if not shown and "CUDA_VISIBLE_DEVICES" in (environment.get("variables") or {}):
        return gpus[0] if len({gpu["name"] for gpu in gpus}) == 1 else None
    _, _, number = str(record["model"]["describe"]["device"]).partition(":")
    index = int(number) if number.isdecimal() else 0
    return gpus[index] if index < len(gpus) else None


def format_duration(nanoseconds: float | None) -> str:
    """A duration in the unit that suits it, to four digits.

    >>> format_duration(950), format_duration(80111), format_duration(2.5e9), format_duration(None)
    ('950 ns', '80.11 µs', '2.500 s', '-')
    """
    if nanoseconds is None:
        return NOTHING
    for size, unit in _DURATIONS:
        if abs(nanoseconds) >= size * 0.99995:  # what would round up to 1000 of the smaller unit
            value = nanoseconds / size
            return f"{value:,.{max(0, 4 - len(str(int(abs(value)))))}f} {unit}"
    return f"{nanoseconds:.0f} ns"


def format_figure(value: float | None, unit: str = "") -> str:
    """A metric's value, to the four decimals that accuracies are published with at most.

    >>> format_figure(98.88888, "%"), format_figure(0.5)
    ('98.8889 %', '0.5000')
    """
    return NOTHING if value is None else f"{value:,.4f} {unit}".rstrip()


def format_difference(value: float, unit: str = "") -> str:
    """A difference with its sign; of percentages in percentage points.

    >>> format_difference(-0.25, "%") == MINUS + "0.2500 pp", format_difference(1e-9, "%"), format_difference(2.0)
    (True, '0.0000 pp', '+2.0000')
    """
    digits = f"{abs(value):,.4f}"
    sign = "" if not digits.strip("0.,") else "+" if value > 0 else MINUS
    return f"{sign}{digits} {'pp' if unit == '%' else unit}".rstrip()


def format_interval(interval: Mapping[str, Any], unit: str = "") -> str:
    """From where to where a figure may lie, in its unit.

    >>> format_interval({"low": 98.12345, "high": 99.5}, "%"), format_interval({"low": 80111.0, "high": 80500.0}, "ns")
    ('98.12 to 99.50 %', '80.11 µs to 80.50 µs')
    """
    low, high = interval["low"], interval["high"]
    if unit == "ns":
        return f"{format_duration(low)} to {format_duration(high)}"
    digits = 2 if unit == "%" else 4
    return f"{low:,.{digits}f} to {high:,.{digits}f} {unit}".rstrip()


def format_rate(value: float | None, unit: str) -> str:
    """A throughput, to a tenth below 10,000.

    >>> format_rate(12000.1, "samples/s"), format_rate(87.25, "samples/s")
    ('12,000 samples/s', '87.2 samples/s')
    """
    return NOTHING if value is None else f"{value:,.{0 if abs(value) >= 10_000 else 1}f} {unit}".rstrip()


def format_percentile(entry: Mapping[str, Any], queries: int) -> str:
    """A percentile of the record's ``latency``, or how far the sample is from supporting it.

    >>> format_percentile({"percentile": 99.0, "value": None, "needed": 662}, 64)
    'insufficient (64 of 662)'
    """
    if entry["value"] is None:
        return f"insufficient ({queries:,} of {entry['needed']:,})"
    return format_duration(entry["value"])
