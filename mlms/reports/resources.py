"""What a run took of the machine, in words. Sections that a record lacks give no lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlms.reports.format import size
from mlms.runs.summary import format_duration

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def resource_lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Labels and texts: which repeat it is, cold start, memory, processor time, what else happened while
    it measured, energy, arithmetic, tracing.
    """
    if repeat := record.get("repeat"):
        yield "repeat", f"{repeat['index']} of {repeat['of']}"
    if cold := record.get("cold_start"):
        names = {"import_s": "import", "load_s": "load", "first_inference_s": "first inference"}
        times = ", ".join(f"{words} {format_duration(cold['median'][key] * 1e9)}" for key, words in names.items())
        yield "cold start", f"{times} (median of {len(cold['runs'])})"
    taken = record.get("resources") or {}
    if (peak := taken.get("peak_rss_bytes")) is not None:
        on_device = taken.get("device_peak_bytes")
        yield "peak memory", size(peak) + ("" if on_device is None else f", {size(on_device)} on the device")
    if (share := taken.get("cpu_share")) is not None:
        yield "CPU", f"{share:.2f} CPUs busy while measuring"
    if found := (record.get("latency") or {}).get("coincidences"):
        yield "meanwhile", ", ".join(_events(found))
    if (joules := taken.get("energy_joules")) is not None:
        idle = taken.get("energy_idle_watts")
        yield "energy", f"{joules:,.1f} J" + ("" if idle is None else f", idle machine {idle:,.1f} W")
    if (flops := taken.get("flops_per_sample")) is not None:
        intensity = taken.get("arithmetic_intensity")
        yield "arithmetic", _count(flops) + ("" if intensity is None else f", {intensity:,.3g} FLOPs/byte")
    trace = record.get("trace") or {}
    if len(levels := trace.get("levels") or []) > 1:
        yield "levels", level_costs(levels)
    if spilled := trace.get("spilled"):
        yield "trace", f"{trace['spans']:,} spans, {spilled:,} parts of them went through the disk"


def level_costs(levels: Sequence[Mapping[str, Any]]) -> str:
    """What the median prediction took at the shallowest level, and how much more at each deeper one.

    >>> level_costs([{"level": "model", "median_ns": 2e6, "overhead": 0}, {"level": "layer", "overhead": 0.0146}])
    'model 2.000 ms, layer +1.5%'
    """
    shallowest, *deeper = levels
    added = (f"{entry['level']} {entry['overhead']:+.1%}" + " (noise)" * (entry["overhead"] < 0) for entry in deeper)
    return ", ".join([f"{shallowest['level']} {format_duration(shallowest['median_ns'])}", *added])


def _events(coincidences: Mapping[str, Any]) -> Iterator[str]:
    """What may have made queries slow, and how many it fell into, where that is known.

    >>> list(_events({"gc": {"events": 2, "queries": 3, "outliers": 1}, "page_faults": None, "throttled": None}))
    ['2 garbage collections in 3 queries (1 of the outliers)']
    """
    collected = coincidences["gc"]
    hit = (
        f" in {collected['queries']:,} queries ({collected['outliers']:,} of the outliers)"
        if collected["events"]
        else ""
    )
    yield f"{collected['events']:,} garbage collection{'' if collected['events'] == 1 else 's'}{hit}"
    for kind, words in (("page_faults", "page faults read from disk"), ("throttled", "times throttled")):
        if coincidences.get(kind) is not None:
            yield f"{coincidences[kind]['events']:,} {words}"


def _count(flops: float) -> str:
    for scale, prefix in _PREFIXES:
        if flops >= scale:
            return f"{flops / scale:,.2f} {prefix}FLOPs a sample"
    return f"{flops:,.0f} FLOPs a sample"
